from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isoclock.cli.main import main
from isoclock.dag import status
from isoclock.dag.status import GridStatus, JobStatus, grid_status
from isoclock.dag.status_text import in_words, status_text
from isoclock.files import write_text
from isoclock.grid.cells import Cell
from isoclock.grid.jobs import GridJobs
from isoclock.grid.layout import Layout, RunFiles
from isoclock.params.check import load_params
from isoclock.runner.lease import Lease
from isoclock.runner.ledger import Ledger
from isoclock.runner.progress_file import ProgressFile
from tiny_study import TinyStudy, cell

_opened: list[str] | None = None


def _note_opened(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event == "open":
        _opened.append(str(arguments[0]))


sys.addaudithook(_note_opened)


@pytest.fixture
def here(empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    """An empty study as working directory, on a machine without SLURM."""
    monkeypatch.chdir(empty_study.folder)
    monkeypatch.setenv("PATH", str(empty_study.folder / "bin"))
    return empty_study


@pytest.fixture
def opened_files() -> Iterator[Callable[[], list[str]]]:
    """Names of the files that were opened since the call before."""
    global _opened
    _opened = []

    def take() -> list[str]:
        global _opened
        found, _opened = _opened or [], []
        return found

    yield take
    _opened = None


def squeue(study: TinyStudy, script: str) -> None:
    """Put a program `squeue` on PATH."""
    path = study.folder / "bin" / "squeue"
    write_text(path, f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def write_ledger(path: Path, *events: tuple[str, dict[str, object]], trained: int = 3, step_s: float = 10.0) -> None:
    """A ledger with a segment of some iterations, logged one by one, and the events that ended it."""
    ledger = Ledger(path)
    ledger.append("start", 0, train_s=0.0)
    for at in range(1, trained + 1):
        ledger.append("train", at, loss=1 / at, terms={}, lr=0.1, train_s=at * step_s)
    for event, values in events:
        ledger.append(event, trained, **values)
    ledger.close()


def plan(one: Cell, iterations: int = 6, planned_s: float = 60.0) -> None:
    path = Layout().plan(one.dataset, one.pair, one.method, one.budget)
    write_text(path, json.dumps({"iterations": iterations, "planned_s": planned_s}))


def trained(one: Cell, ended: str = "finish", **values: object) -> None:
    files = Layout().student_files(one)
    write_ledger(files.ledger, (ended, values), trained=6)
    write_text(files.record, "{}")


def now(grid: str = "toy") -> GridStatus:
    return grid_status(GridJobs.of_grid(load_params(), grid, Layout()))


def student(one: Cell, found: GridStatus) -> JobStatus:
    (job,) = (job for job in found.of("student") if job.name == one.path)
    return job


def words(text: str) -> str:
    """A text with one space between words."""
    return " ".join(text.split())


def test_before_anything_is_made_all_jobs_wait(here: TinyStudy) -> None:
    found = now()
    assert {job.rule for job in found.jobs} >= {*status.RULES, "report", "sync"} - {"teacher_gate"}
    assert {job.state for job in found.jobs} == {"waiting"}
    assert {job.left_s for job in found.of("student")} == {None}
    assert "10 cells have no plan yet" in status_text(found)


def test_the_states_of_students(here: TinyStudy) -> None:
    layout = Layout()
    done, running, failed, stopped, diverged = (cell(name) for name in ("none", "kd", "fitnet", "cwd", "mgd"))
    for one in (done, running, failed, stopped, diverged):
        plan(one)
    trained(done)
    trained(diverged, "diverged", message="loss is nan")
    write_ledger(
        RunFiles(layout.student_run(failed)).ledger, ("failed", {"reason": "disk", "message": "no space left"})
    )
    write_ledger(RunFiles(layout.student_run(stopped)).ledger, ("stop", {"reason": "SIGTERM"}))
    write_ledger(RunFiles(layout.student_run(running)).ledger)
    ProgressFile(layout.student_run(running)).write(4, 40.0)
    with Lease(layout.student_run(running)):
        found = now()
    assert student(done, found) == JobStatus("student", done.path, "done", 6, 6, 1 / 6, 60.0, 60.0)
    assert student(diverged, found).reason == "diverged: loss is nan"
    assert student(failed, found) == JobStatus(
        "student", failed.path, "failed", 3, 6, 1 / 3, 30.0, 60.0, "no space left"
    )
    assert student(stopped, found).state == "stopped"
    assert student(running, found) == JobStatus("student", running.path, "running", 4, 6, 1 / 3, 40.0, 60.0)
    assert student(running, found).left_s == pytest.approx(20.0)
    text = words(status_text(found))
    assert f"student {running.path}: 4/6 (67%), loss 0.333, 67% of its budget used, 20 s left" in text
    assert f"student {failed.path}: no space left" in text
    assert f"student {diverged.path}: diverged: loss is nan" in text
    assert "student 10 2 1 - 1 6 4 min >" in text
    assert "Budget: 73% of 5 min train time used; 5 cells have no plan yet." in text
    assert student(running, now()).state == "waiting", "the process has ended"


def test_a_result_that_is_taken_over_counts_once(here: TinyStudy) -> None:
    first, copy = cell("kd"), cell("kd", "compute-6")
    for one in (first, copy):
        plan(one)
        trained(one)
    assert [student(one, now()).train_s for one in (first, copy)] == [60.0, 0.0]
    plan(copy, iterations=7)
    assert student(copy, now()).train_s == 60.0, "another length is a training of its own"


def test_other_verbs_say_in_their_log_why_they_failed(here: TinyStudy) -> None:
    logs = {
        (
            "profile",
            "streets/tiny/kd",
        ): "warming up\nisoclock: profile streets/tiny/kd: out of memory; use a smaller crop\n",
        ("evaluate", cell().path): "Traceback (most recent call last):\n  in f\nZeroDivisionError: division by zero\n",
        ("profile", "streets/tiny/none"): "profile streets/tiny/none, seconds: 3/10, 7 s left\n",
    }
    for (rule, name), text in logs.items():
        write_text(Layout().log(rule, *name.split("/")), text)
    found = {(job.rule, job.name): job for job in now().jobs}
    assert found["profile", "streets/tiny/kd"].reason == "profile streets/tiny/kd: out of memory; use a smaller crop"
    assert found["evaluate", cell().path].reason == "ZeroDivisionError: division by zero"
    assert found["profile", "streets/tiny/none"].state == "waiting", "no Snakemake works here"
    lock = Path(".snakemake/locks/0.input.lock")
    write_text(lock, "")
    write_text(
        Layout().log("profile", "streets", "tiny", "none"), "profile streets/tiny/none, seconds: 4/10, 6 s left\n"
    )
    assert {job.name for job in now().of("profile") if job.state == "running"} == {"streets/tiny/none"}


def test_slurm_is_asked_once_for_the_jobs_of_this_folder(here: TinyStudy) -> None:
    named = "rule_student_wildcards_streets_tiny"
    rows = [
        f"PENDING|{named}_kd_iteration-6_0|{here.folder}",
        f"RUNNING|{named}_cwd_iteration-6_0|{here.folder}",
        f"PENDING|{named}_mgd_iteration-6_0|/another/study",
    ]
    squeue(here, f"echo asked >> {here.folder}/asked\nprintf '%s\\n' " + " ".join(f"'{row}'" for row in rows))
    found = now()
    assert (here.folder / "asked").read_text() == "asked\n"
    assert [student(cell(name), found).state for name in ("kd", "cwd", "mgd")] == ["queued", "running", "waiting"]


def test_without_an_answer_the_queue_is_unknown(here: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    squeue(here, "exec /bin/sleep 30")
    monkeypatch.setattr(status, "QUEUE_TIMEOUT_S", 0.2)
    started = time.monotonic()
    found = now()
    assert time.monotonic() - started < 5
    assert found.queue == "unknown"
    text = words(status_text(found))
    assert "SLURM did not answer" in text
    assert "student 10 - - ? - 10" in text
    squeue(here, "echo 'squeue: fatal: Could not establish a configuration source' >&2; exit 1")
    assert now().queue == "none"


def test_long_ledgers_and_more_seeds_cost_no_more_reading(
    here: TinyStudy, opened_files: Callable[[], list[str]]
) -> None:
    here.edit("grids/toy.yaml", "seeds: [0]", "seeds: [0, 1, 2, 3]")
    jobs = GridJobs.of_grid(load_params(), "toy", Layout())
    one = cell()
    plan(one)
    for seed in range(4):
        write_ledger(RunFiles(Layout().student_run(cell(seed=seed))).ledger, trained=5000)
    ledgers = 4
    before = rchar()
    opened_files()
    grid_status(jobs)
    names = [name for name in opened_files() if name.startswith(("results", "runs"))]
    assert len(names) == len(set(names)), "nothing is opened twice"
    assert sum(name.endswith("ledger.jsonl") for name in names) == ledgers
    assert sum(name.startswith("results/plan/") for name in names) == 10, "each plan once, not once a seed"
    size = RunFiles(Layout().student_run(one)).ledger.stat().st_size
    assert size > 300_000
    assert rchar() - before < 100_000


def rchar() -> int:
    """Bytes that this process has read from files so far."""
    (line,) = (line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar"))
    return int(line.split()[1])


def test_every_line_fits_80_columns(here: TinyStudy) -> None:
    layout = Layout()
    for name in ("kd", "fitnet"):
        folder = layout.student_run(cell(name))
        write_ledger(RunFiles(folder).ledger, ("failed", {"message": "x" * 50 + " word" * 60 + "\x1b[2J"}))
    text = status_text(now(), 80)
    assert max(map(len, text.splitlines())) == 80
    assert "\x1b" not in text


def test_durations() -> None:
    assert [in_words(seconds) for seconds in (0, 99, 150, 7200, 360_000)] == ["0 s", "99 s", "2 min", "2.0 h", "100 h"]


def test_the_command(here: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "toy"]) == 0
    assert capsys.readouterr().out == status_text(now())
    assert main(["status", "toi"]) == 2
    assert "unknown grid 'toi'" in capsys.readouterr().err
