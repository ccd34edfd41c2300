"""Part `verbs`: a study's verbs on the device: teacher, profiles, plans, a student that is stopped and resumed, scores, audit."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rows import Rows, part_arguments
from study import NAME, READY

from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout, RunFiles
from isoclock.runner.ledger import read_ledger

WAIT_S = 60.0  # for the generated scenes
STOP_AFTER = 20  # iterations; the student gets SIGTERM then
SEED = 0


class Verbs:
    """Runs verbs in the study's folder, and records how they ended."""

    def __init__(self, folder: Path, rows: Rows) -> None:
        self.folder, self.rows = folder, rows

    def run(self, *arguments: str) -> int:
        """Run one verb to its end; its output goes to the part's log."""
        started = time.monotonic()
        status = subprocess.run(self._command(*arguments), cwd=self.folder, check=False).returncode
        self._put(arguments, status, started)
        return status

    def stop(self, ledger: Path, *arguments: str) -> int:
        """Start a verb that trains, and send it SIGTERM once its ledger shows STOP_AFTER iterations."""
        started = time.monotonic()
        process = subprocess.Popen(self._command(*arguments), cwd=self.folder)
        while process.poll() is None:
            if any(event["event"] == "train" and event["iteration"] >= STOP_AFTER for event in read_ledger(ledger)):
                process.send_signal(signal.SIGTERM)
                break
            time.sleep(0.05)
        status = process.wait()
        self._put((*arguments, "(stopped)"), status, started)
        return status

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "isoclock", *arguments]

    def _put(self, arguments: tuple[str, ...], status: int, started: float) -> None:
        self.rows.put(
            kind="verb", command=" ".join(arguments), status=status, took_s=round(time.monotonic() - started, 1)
        )


def main() -> None:
    """Every verb once; a row for each, and one with what the records say."""
    arguments = part_arguments(__doc__).parse_args()
    rows = Rows(arguments.out)
    folder = arguments.out.parent / "study"
    _wait_for(folder / READY)
    pair, teacher = ("r10t-tiny", "psp-r10t") if arguments.tiny else ("r101-r18", "psp-r101")
    budget = "compute-bench"
    cell = Cell.parse(f"{NAME}/{pair}/kd/{budget}/{SEED}")
    layout = Layout(folder / "results", folder / "runs")
    verbs = Verbs(folder, rows)
    verbs.run("teacher", NAME, teacher)
    verbs.run("evaluate", f"{NAME}/{teacher}")
    for method in ("none", "kd"):
        verbs.run("profile", NAME, pair, method)
    for method in ((), ("kd",)):
        verbs.run("plan", NAME, pair, budget, *method)
    verbs.stop(RunFiles(layout.student_run(cell)).ledger, "student", cell.path)
    verbs.run("student", cell.path)
    verbs.run("evaluate", cell.path)
    verbs.run("audit", "--grid", NAME)
    _record(rows, layout, pair, cell)
    shutil.rmtree(folder / "data", ignore_errors=True)


def _record(rows: Rows, layout: Layout, pair: str, cell: Cell) -> None:
    """What profiles and the student's record hold: cost, waiting for data, energy, and the student's segments."""
    for method in ("none", "kd"):
        path = layout.profile(NAME, pair, method)
        if path.is_file():
            profile: dict[str, Any] = json.loads(path.read_text())
            kept = {
                key: profile.get(key) for key in ("cost", "shares", "sustained_ratio", "peak_mib", "energy_j", "marks")
            }
            rows.put(kind="profile", method=method, **kept)
    path = layout.student_files(cell).record
    if path.is_file():
        record = json.loads(path.read_text())
        keys = ("first_iteration", "iterations", "train_s", "startup_s", "anchor_s", "ended")
        segments = [{key: segment[key] for key in keys} for segment in record["segments"]]
        rows.put(kind="record", status=record["status"], segments=segments)


def _wait_for(ready: Path) -> None:
    end_s = time.monotonic() + WAIT_S
    while not ready.is_file():
        if time.monotonic() > end_s:
            raise SystemExit(f"{ready.parent}: the generated scenes are not ready after {WAIT_S:.0f} s; see study.log")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
