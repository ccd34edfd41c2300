"""Studies on the cluster that something happens to. Each runs in a clone of its own, in a thread, and within a time limit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clone import Clone

from cluster import Cluster
from isoclock.artifacts import write_text
from tiny_study import SIZE, TinyStudy, cell, edit

LIMIT_S = 660  # of a scenario; its failure mode is to wait for ever, and a busy machine is slow to start jobs
ITERATIONS = 200
PATIENCE_S = 240  # until a trainer trains: start-ups on a busy machine

# While there is a file `step_s`, a step takes that many seconds more: a run is long enough to be hurt, whatever the machine, and
# costs no processor time. And it fails for the method whose class is named by $BROKEN.
SLOWER = """

import os as _os
import time as _time
from pathlib import Path as _Path

_at_full_speed = TrainingStep.__call__


def _slowly(self, *arguments, **named):
    if type(self.method).__name__ == _os.environ.get("BROKEN"):
        raise RuntimeError("this method is broken")
    try:
        _time.sleep(float(_Path("step_s").read_text()))
    except FileNotFoundError:
        pass
    return _at_full_speed(self, *arguments, **named)


TrainingStep.__call__ = _slowly
"""

# The executor looks at its jobs after a while, and then ever more rarely. What it sees is the same if it looks all the time.
IMPATIENT = """

from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor as _RemoteExecutor

_RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 2, lambda self, seconds: None)
"""

SITE = """\
partition: {partition}
account: null
gpu_as: {gpu_as}
gpu_model: {gpu_model}
spare_retries: {spare_retries}
"""


def make_clone(folder: Path, methods: str = "kd") -> Clone:
    """A clone with streets, loader processes, a budget of a few hundred iterations and jobs of little memory."""
    from isoclock.data.streets import make_streets

    clone = Clone.make(folder)
    make_streets(folder / "data" / "streets", train=5, val=2, size=SIZE, workers=1)
    params, profile = folder / "params", folder / "workflow/profiles/slurm/profile.yaml"
    edit(params / "training.yaml", "workers: 0", "workers: 1")
    edit(params / "budgets.yaml", "iteration\n    iterations: 6", f"iteration\n    iterations: {ITERATIONS}")
    edit(params / "grids/demo.yaml", "[none, kd, fitnet]", f"[{methods}]")
    edit(profile, "mem_mb: 16000", "mem_mb: 700")
    edit(profile, "profile: 12", "profile: 2")
    with (folder / "Snakefile").open("a") as snakefile:
        snakefile.write(IMPATIENT)
    return clone


def make_taught(folder: Path) -> Clone:
    """A clone in which students are what is left to train."""
    from isoclock.budget.plan import accept_budget, make_plan
    from isoclock.budget.profile import profile_method
    from isoclock.data.cityscapes import READER
    from isoclock.data.prepare import prepare
    from isoclock.training.run import train_teacher

    clone = make_clone(folder, "kd, fitnet")
    edit(folder / "params/grids/demo.yaml", "[compute-6]", "[iteration-6]")
    with (folder / "src/isoclock/training/step.py").open("a") as step:
        step.write(SLOWER)
    clone.run("isoclock", "stamp", timeout_s=120)  # first: what is older than its stamp is made again
    study = TinyStudy(folder)
    params, layout = study.params, study.layout
    prepare(
        READER,
        folder / "data/streets",
        layout.prepared("streets"),
        splits={"train": "train", "val": "val"},
        dataset="streets",
    )
    train_teacher(params, "streets", "small", layout)
    accept_budget(params, "streets", "tiny", "iteration-6", layout)
    for method in ("kd", "fitnet"):
        profile_method(params, "streets", "tiny", method, layout)
        make_plan(params, "streets", "tiny", method, "iteration-6", layout, study=False)
    return clone


def train_undisturbed(taught: Clone, folder: Path) -> str:
    """Digest of the weights of `kd`, trained in one go, in a folder beside."""
    from isoclock.grid import Layout
    from isoclock.training.run import train_student

    study, layout = TinyStudy(taught.folder), Layout(folder / "results", folder / "runs")
    shutil.copytree(study.layout.results, layout.results)
    train_student(study.params, cell("kd"), layout)
    record = json.loads((layout.student(cell("kd")) / "record.json").read_text())
    assert record["iterations"] == {"planned": ITERATIONS, "done": ITERATIONS}
    return str(record["digests"]["weights"])


@dataclass
class OnCluster:
    """A clone whose Snakemake submits to a cluster."""

    clone: Clone
    cluster: Cluster
    told: str = ""  # what Snakemake printed
    process: subprocess.Popen[bytes] | None = None

    def settle(
        self, *, partition: str = "gpu", gpu_as: str = "gpu", gpu_model: str = "plain", spare_retries: int = 2
    ) -> None:
        """Fill in the site file."""
        path = self.clone.folder / "workflow/profiles/slurm/site.yaml"
        path.write_text(
            SITE.format(partition=partition, gpu_as=gpu_as, gpu_model=gpu_model, spare_retries=spare_retries)
        )

    @property
    def environment(self) -> dict[str, str]:
        """The clone's, and the cluster's."""
        there, here = self.cluster.environment, self.clone.environment
        programs = here["PATH"].split(os.pathsep)[0]  # of this Python
        return {**there, **here, "PATH": f"{programs}{os.pathsep}{there['PATH']}", "SLURM_CONF": there["SLURM_CONF"]}

    def slow_down(self, step_s: float) -> None:
        """Let every step take that much longer, until `speed_up`."""
        write_text(self.clone.folder / "step_s", str(step_s))

    def speed_up(self) -> None:
        """Let steps take as long as they take."""
        (self.clone.folder / "step_s").unlink()

    def run(
        self,
        *arguments: str,
        broken: str = "",
        meanwhile: Callable[[], None] | None = None,
        status: int = 0,
    ) -> str:
        """`snakemake --profile slurm` with these arguments, and something else while it runs; its output.

        Fails if it ends with another status, or not in time.
        """
        quick = ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "20"]
        command = ["snakemake", "--profile", "slurm", *quick]
        output = self.clone.folder / "snakemake.out"
        with output.open("w") as told:
            self.process = process = subprocess.Popen(
                [*command, *arguments],
                cwd=self.clone.folder,
                env={**self.environment, "BROKEN": broken},
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            if meanwhile is not None:
                meanwhile()
            ended = process.wait(timeout=LIMIT_S)
        except Exception as error:
            raise AssertionError(f"{error!r}\n{output.read_text()}") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=10)
        assert ended == status, f"exit status {ended}\n{output.read_text()}"
        return output.read_text()

    def jobs(self) -> dict[int, str]:
        """State of this clone's jobs that have not ended, by number."""
        lines = (line.split(maxsplit=2) for line in self.cluster.ask("squeue", "-h", "-o", "%A %T %Z").splitlines())
        return {int(number): state for number, state, folder in lines if folder == str(self.clone.folder)}

    def job_that_trains(self, method: str = "kd") -> int:
        """Wait until the student is trained; the number of its job."""
        ledger = self.ledger(method)
        self.until(lambda: ledger.is_file() and '"event": "train"' in ledger.read_text(), f"{method} trains")
        (number,) = [number for number, state in self.jobs().items() if state == "RUNNING"]
        return number

    def ledger(self, method: str = "kd") -> Path:
        """Ledger of the live run."""
        return self.clone.folder / f"runs/student/streets/tiny/{method}/iteration-6/0/ledger.jsonl"

    def until(self, holds: Callable[[], bool], what: str, limit_s: float = PATIENCE_S) -> None:
        """Wait for something that other processes do."""
        deadline = time.monotonic() + limit_s
        while not holds():
            assert self.process is None or self.process.poll() is None, f"Snakemake ended before {what}"
            assert time.monotonic() < deadline, f"within {limit_s:.0f} s it did not happen that {what}"
            time.sleep(0.05)

    def record(self, method: str = "kd", verb: str = "student", budget: str = "iteration-6") -> dict[str, Any]:
        """The published record of a cell."""
        path = self.clone.folder / f"results/{verb}/streets/tiny/{method}/{budget}/0/record.json"
        record: dict[str, Any] = json.loads(path.read_text())
        return record
