"""Studies for the scenarios: one without results, and one in which only students are left to train."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from clone import Clone

from tiny_study import SIZE, TinyStudy, cell, edit

ITERATIONS = 200

# While a file `step_s` exists, each step takes that many seconds longer, without processor time: a run is long enough to be
# disturbed on any machine. Training fails for the method whose class is named in $BROKEN.
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

# The executor checks its jobs less and less often. Checking every two seconds gives the same states.
IMPATIENT = """

from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor as _RemoteExecutor

_RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 2, lambda self, seconds: None)
"""


def make_clone(folder: Path, methods: str = "none, kd", budgets: str = "iteration-6, compute-6") -> Clone:
    """A clone with streets, loader processes, jobs of little memory, and iteration-6 raised to a few hundred iterations."""
    from isoclock.data.streets.make import make_streets

    clone = Clone.make(folder)
    make_streets(folder / "data" / "streets", train=5, val=2, size=SIZE, workers=1)
    params, profile = folder / "params", folder / "workflow/profiles/slurm/profile.yaml"
    edit(params / "training.yaml", "workers: 0", "workers: 1")
    edit(params / "budgets.yaml", "iteration\n    iterations: 6", f"iteration\n    iterations: {ITERATIONS}")
    edit(params / "grids/demo.yaml", "[none, kd, fitnet]", f"[{methods}]")
    edit(params / "grids/demo.yaml", "[compute-6]", f"[{budgets}]")
    edit(profile, "mem_mb: 16000", "mem_mb: 700")
    edit(profile, "profile: 12", "profile: 2")
    with (folder / "Snakefile").open("a") as snakefile:
        snakefile.write(IMPATIENT)
    return clone


def make_taught(folder: Path) -> Clone:
    """A clone in which only students are left to train."""
    from isoclock.budget.plan import accept_budget, make_plan
    from isoclock.budget.profile import profile_method
    from isoclock.data.packing.prepare import prepare
    from isoclock.data.readers.cityscapes import READER
    from isoclock.runner.run import train_teacher

    clone = make_clone(folder, "kd, fitnet", "iteration-6")
    with (folder / "src/isoclock/training/step.py").open("a") as step:
        step.write(SLOWER)
    clone.run("isoclock", "stamp", timeout_s=120)  # first: results older than their stamp are made again
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
    """Digest of the weights of `kd`, trained in one go, in another folder."""
    from isoclock.grid.layout import Layout
    from isoclock.runner.run import train_student

    study, layout = TinyStudy(taught.folder), Layout(folder / "results", folder / "runs")
    shutil.copytree(study.layout.results, layout.results)
    train_student(study.params, cell("kd"), layout)
    record = json.loads((layout.student(cell("kd")) / "record.json").read_text())
    assert record["iterations"] == {"planned": ITERATIONS, "done": ITERATIONS}
    return str(record["digests"]["weights"])
