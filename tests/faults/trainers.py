"""Real trainers: the verb `student` in a separate process, which a test can kill, stop, limit or freeze."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from isoclock.files import read_json
from isoclock.grid.cells import Cell
from isoclock.runner.ledger import Event, read_ledger
from tiny_study import TinyStudy, cell, write_plan

WAIT_S = 120.0  # limit for anything that another process does

# Trainers are forked from a process that has imported everything: a start takes a fraction of a second, not seven.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "isoclock.runner.run",
        "isoclock.params.check",
        "isoclock.models.pspnet",
        "segmentation_models_pytorch",
        "fault_makers",
        "warm",
    ]
)

Arrange = Callable[[], object]


def until(happened: Callable[[], Any], what: str, wait_s: float = WAIT_S) -> Any:
    """Poll until `happened()` returns something true, and return that."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if found := happened():
            return found
        time.sleep(0.02)
    raise AssertionError(f"never happened: {what}")


@dataclass
class Trainer:
    """`isoclock student` of one cell of a tiny study, or `isoclock teacher`; `said` is the output of all its processes."""

    study: TinyStudy
    method: str = "kd"  # or `teacher`
    processes: list[ForkServerProcess] = field(default_factory=list)

    @property
    def cell(self) -> Cell:
        return cell(self.method)

    @property
    def folder(self) -> Path:
        layout = self.study.layout
        return layout.teacher_run("streets", "small") if self.method == "teacher" else layout.student_run(self.cell)

    @property
    def events(self) -> list[Event]:
        return read_ledger(self.folder / "ledger.jsonl")

    def events_of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["event"] == kind]

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def record(self) -> dict[str, Any]:
        return dict(read_json(self.study.layout.student(self.cell) / "record.json", "student"))

    @property
    def _log(self) -> Path:
        return self.study.folder / f"{self.method}.log"

    def start(self, *arrange: Arrange, verb: Sequence[str] = ()) -> ForkServerProcess:
        """Start a process, which calls `arrange` (importable functions) first; `verb` is another verb to run, with arguments."""
        _start_fork_server()
        mine = ["teacher", "streets", "small"] if self.method == "teacher" else ["student", self.cell.path]
        arguments = list(verb) or mine
        process = _CONTEXT.Process(target=_verb, args=(self.study.folder, arguments, self._log, arrange))
        process.start()
        self.processes.append(process)
        return process

    def run(self, *arrange: Arrange, verb: Sequence[str] = ()) -> int:
        """Start a process and wait for its end; its exit status, negative for a signal."""
        return ended(self.start(*arrange, verb=verb))

    def until_event(self, kind: str, *, segment: int, beyond: int = -1) -> None:
        """Wait for an event of a segment (counted from 0), after an iteration."""

        def happened() -> bool:
            starts = [place for place, event in enumerate(self.events) if event["event"] == "start"]
            of_segment = self.events[starts[segment] :] if len(starts) > segment else []
            return any(event["event"] == kind and event["iteration"] > beyond for event in of_segment)

        until(happened, f"segment {segment} has event {kind}")

    def end(self) -> None:
        """End all processes."""
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join(WAIT_S)


def _start_fork_server() -> None:
    """Start the fork server if needed. Python 3.11 does not pass it sys.path, and it skips modules that it cannot find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        forkserver.ensure_running()


def digest_of_a_whole_run(study: TinyStudy) -> str:
    """Digest of the weights of six undisturbed iterations of kd; the study cannot be used again."""
    run = Trainer(study)
    write_plan(study)
    assert run.run() == 0, run.said
    return str(run.record["digests"]["weights"])


def ended(process: ForkServerProcess) -> int:
    """Wait for the end of a process; its exit status, negative for a signal."""
    process.join(WAIT_S)
    assert process.exitcode is not None, "it does not end"
    return process.exitcode


def stop(process: ForkServerProcess) -> int:
    """Send SIGTERM; returns the exit status."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    return ended(process)


def _verb(folder: Path, arguments: list[str], log: Path, arrange: tuple[Arrange, ...]) -> None:
    from isoclock.cli.main import main

    multiprocessing.set_start_method("fork", force=True)  # for loader processes, as in a process started by a shell
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # bit-exactness is promised on the CPU
    os.chdir(folder)
    stream = log.open("a", buffering=1)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(stream.fileno(), 1)
    os.dup2(stream.fileno(), 2)
    sys.stdout = sys.stderr = stream
    for step in arrange:
        step()
    try:
        status = main(arguments)
    finally:
        atexit._run_exitfuncs()  # multiprocessing skips them, a normal process does not
    sys.exit(status)
