"""Two starts of the workflow: at the same time, and after the first was killed while its trainer is alive (fault 4)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clone import Clone
from trainers import until

from isoclock.runner.ledger import read_ledger
from tiny_study import TinyStudy, edit

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.timeout(900), pytest.mark.slow]

TARGET = "results/student/streets/tiny/kd/iteration-6/0/record.json"
# One job at a time: while the trainer is frozen, the first start makes nothing else that would look like the second's doing.
SNAKEMAKE = ("snakemake", "--profile", "workflow/profiles/local", "--retries", "0", "--cores", "1")
ALL = (*SNAKEMAKE, "--", "all")
# Once the first has made all before it, only the student's rule may run.
STUDENT = (*SNAKEMAKE, "--allowed-rules", "student", "--", TARGET)
REPORT = "results/report/demo/report.html"


@pytest.fixture
def clone(taught_study: TinyStudy, tmp_path: Path) -> Clone:
    """The project with a trained teacher, one cell to train, for some seconds, and a report that shows it as a hole."""
    clone = Clone.make(tmp_path / "clone")
    params = clone.folder / "params"
    edit(params / "grids/demo.yaml", "[none, kd, fitnet]", "[kd]")
    edit(params / "grids/demo.yaml", "[compute-6]", "[iteration-6]")
    edit(params / "budgets.yaml", "protocol: iteration\n    iterations: 6", "protocol: iteration\n    iterations: 100")
    clone.run("isoclock", "stamp", "--grid", "demo")  # older than what was made from them
    for made in ("data", "teacher"):  # in this order: the teacher is newer than its data
        shutil.copytree(
            taught_study.folder / "results" / made, clone.folder / "results" / made, copy_function=shutil.copy
        )
    clone.run("isoclock", "report", "--grid", "demo")
    return clone


@pytest.fixture
def run(clone: Clone) -> Iterator[Path]:
    """The run's folder; no trainer outlives the test."""
    folder = clone.folder / "runs/student/streets/tiny/kd/iteration-6/0"
    yield folder
    if pid := holder(folder):
        os.kill(pid, signal.SIGKILL)


def holder(folder: Path) -> int | None:
    """The trainer's process, while it holds the run."""
    pid = next((json.loads(file.read_text())["pid"] for file in (folder / "lease").glob("*.json")), None)
    return pid if pid and Path(f"/proc/{pid}/stat").is_file() else None


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Times and sizes of what a second start could touch: all but the living run's own files and Snakemake's."""
    found = [path for name in ("results", "params", "data", "src") for path in (folder / name).rglob("*.*")]
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in [*found, *folder.rglob("run.json"), *folder.glob("mlflow.db")]
        if path.is_file() and "__pycache__" not in path.parts
    }


def without_report_and_mlflow(found: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Leave out the report and MLflow, which are updated after a cell has failed."""
    return {path: state for path, state in found.items() if not path.startswith(("results/report/", "mlflow.db"))}


def test_a_second_start_changes_nothing_and_a_killed_one_is_resumed(clone: Clone, run: Path) -> None:
    ledger = run / "ledger.jsonl"
    first = subprocess.Popen(
        ALL, cwd=clone.folder, env=clone.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(  # a profile, plans and MLflow come before it
            lambda: any(event["event"] == "train" for event in read_ledger(ledger)), "the trainer trains", wait_s=400
        )
        trainer = holder(run)
        assert trainer
        os.kill(trainer, signal.SIGSTOP)  # so that it does not end before this test checks
        methods = clone.folder / "params/methods.yaml"
        edit(methods, "weights: {kd: 1.0}", "weights: {kd: 2.0}")
        before = state(clone.folder)
        assert REPORT in before
        output = clone.run(*ALL, status=1)
        assert "cannot be locked" in output
        assert "kd.json: params/ or code changed while a Snakemake works here" in output
        assert "Traceback" not in output
        assert state(clone.folder) == before
        edit(methods, "weights: {kd: 2.0}", "weights: {kd: 1.0}")
        before = without_report_and_mlflow(state(clone.folder))
    finally:
        first.kill()  # its trainer lives
        first.wait()
    assert Path(f"/proc/{trainer}/stat").is_file()
    clone.run("snakemake", "--unlock")
    output = clone.run(*STUDENT, status=1)
    assert f'another process is writing this run ({{"pid": {trainer}, ' in output
    assert "wait for it, or stop it first" in output
    assert without_report_and_mlflow(state(clone.folder)) == before
    assert holder(run) == trainer

    os.kill(trainer, signal.SIGKILL)
    until(lambda: holder(run) is None, "the trainer is gone")
    plan = clone.folder / "results/plan/streets/tiny/kd/iteration-6.json"
    assert json.loads(plan.read_text())["iterations"] == 100
    clone.run(*STUDENT)
    starts = [event for event in read_ledger(ledger) if event["event"] == "start"]
    complaints = [event["message"] for event in read_ledger(ledger) if event["event"] == "complaint"]
    assert len({event["run_id"] for event in starts}) == 1
    assert any(f"process {trainer} on {os.uname().nodename} is dead; taken over" in message for message in complaints)
    record = json.loads((clone.folder / TARGET).read_text())
    assert record["iterations"] == {"planned": 100, "done": 100}
    assert record["clock"]["lost_s"] > 0
