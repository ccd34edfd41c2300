"""Studies on the cluster that something happens to. Each runs in a clone of its own, in a thread, and within a time limit."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from clone import Clone

from cluster import Cluster
from isoclock.cluster.site import SITE_FILE
from isoclock.files import write_text

KD = "results/student/streets/tiny/kd/iteration-6/0/record.json"

# Values of the site file, where a scenario says nothing else.
SITE = {"partition": "gpu", "account": None, "gpu_as": "gpu", "gpu_model": "plain", "spare_retries": 2}


@dataclass(frozen=True)
class Job:
    """A SLURM job, as listed by squeue."""

    number: int
    state: str
    limit: str  # M:SS

    @property
    def ended(self) -> bool:
        """Whether it will not run any more."""
        return self.state not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED")


@dataclass
class OnCluster:
    """A clone whose Snakemake submits to a cluster."""

    clone: Clone
    cluster: Cluster
    deadline: float = 0.0  # of its scenario, on the monotonic clock: a failure waits forever
    output_text: str = ""  # what Snakemake printed
    process: subprocess.Popen[bytes] | None = None

    def settle(self, **site: object) -> None:
        """Fill in the site file."""
        (self.clone.folder / SITE_FILE).write_text(yaml.safe_dump(SITE | site))

    @property
    def environment(self) -> dict[str, str]:
        """The clone's, and the cluster's."""
        there, here = self.cluster.environment, self.clone.environment
        programs = here["PATH"].split(os.pathsep)[0]  # of this Python
        return {**there, **here, "PATH": f"{programs}{os.pathsep}{there['PATH']}", "SLURM_CONF": there["SLURM_CONF"]}

    @property
    def output(self) -> Path:
        """What Snakemake prints, while it runs."""
        return self.clone.folder / "snakemake.out"

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
        assert self.cluster.keeper.poll() is None, "the cluster runs"
        output = self.output
        with output.open("w") as log:
            self.process = process = subprocess.Popen(
                [*command, *arguments],
                cwd=self.clone.folder,
                env={**self.environment, "BROKEN": broken},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            if meanwhile is not None:
                meanwhile()
            ended = process.wait(timeout=max(0.0, self.deadline - time.monotonic()))
        except Exception as error:
            raise AssertionError(f"{error!r}\n{output.read_text()}") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=10)
        assert ended == status, f"exit status {ended}\n{output.read_text()}"
        return output.read_text()

    def isoclock(self, *arguments: str) -> None:
        """Run a verb here, outside any job."""
        subprocess.run(
            ["isoclock", *arguments],
            cwd=self.clone.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=max(0.0, self.deadline - time.monotonic()),
            check=True,
        )

    def jobs(self) -> dict[int, str]:
        """State of this clone's jobs that have not ended, by number."""
        return {job.number: job.state for job in self.submitted() if not job.ended}

    def submitted(self) -> list[Job]:
        """All jobs of this clone, in the order in which they were submitted."""
        asked = self.cluster.ask("squeue", "-h", "--states=all", "--sort=i", "-o", "%A %T %l %Z")
        lines = (line.split(maxsplit=3) for line in asked.splitlines())
        return [
            Job(int(number), state, limit) for number, state, limit, folder in lines if folder == str(self.clone.folder)
        ]

    def job_that_trains(self) -> int:
        """Wait until `kd` is trained; the number of its job."""
        self.until_events("train", 1, "kd trains")
        (number,) = [number for number, state in self.jobs().items() if state == "RUNNING"]
        return number

    def events(self) -> list[dict[str, Any]]:
        """Ledger of the live run of `kd`, as far as it goes."""
        ledger = self.clone.folder / "runs/student/streets/tiny/kd/iteration-6/0/ledger.jsonl"
        lines = ledger.read_text().splitlines(keepends=True) if ledger.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def until_events(self, kind: str, count: int, what: str) -> None:
        """Wait until that run has so many events of a kind."""
        self.until(lambda: [event["event"] for event in self.events()].count(kind) >= count, what)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for something that other processes do, until the scenario's deadline."""
        while not holds():
            assert self.process is None or self.process.poll() is None, f"Snakemake ended before {what}"
            assert time.monotonic() < self.deadline, f"in the time of this scenario it did not happen that {what}"
            time.sleep(0.05)

    def cell(self, verb: str, method: str, budget: str, name: str) -> Path:
        """A file that a verb has published for a cell."""
        return self.clone.folder / f"results/{verb}/streets/tiny/{method}/{budget}/0/{name}"

    def record(self, method: str = "kd", budget: str = "iteration-6") -> dict[str, Any]:
        """The published record of a cell."""
        record: dict[str, Any] = json.loads(self.cell("student", method, budget, "record.json").read_text())
        return record

    def reported(self, name: str) -> list[dict[str, str]]:
        """Rows of a table of the report."""
        with (self.clone.folder / "results/report/demo" / name).open(encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
