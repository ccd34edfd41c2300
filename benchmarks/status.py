"""Time of `isoclock status` for a grid of a thousand cells of which half are trained, compared with one of ten."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from dry_run import CELLS_PER_SEED, study_with_grids
from measure import Goal, Result, in_turns, pairwise, show

from isoclock.grid.cells import cells as cells_of
from isoclock.grid.layout import Layout
from isoclock.params.check import load_params

EVENTS = 200  # of a ledger
TRAIN = (
    '{"event": "train", "unix": 1700000000.0, "iteration": %d, "loss": 0.5, "terms": {}, "lr": 0.01, "train_s": %d.0}\n'
)


def measure(rounds: int = 5, cells: int = 1000) -> Result:
    """Measure a study with a plan for each cell, and a ledger and a record for every other one."""
    with TemporaryDirectory() as name:
        study = study_with_grids(Path(name), cells)
        _train_half(study)
        found = in_turns(rounds, many=lambda: _wall_s(study, "many"), few=lambda: _wall_s(study, "few"))
    many, few = f"{cells} cells", f"{CELLS_PER_SEED} cells"
    return Result(
        "status",
        "`isoclock status` in a fresh process",
        {many: found["many"], few: found["few"]},
        {f"{many} / {few}": pairwise(found["many"], found["few"])},
        [Goal(many, 1.0)],
        {"cells": cells, "ledger_events": EVENTS},
    )


def _train_half(study: Path) -> None:
    layout = Layout(study / "results", study / "runs")
    ledger = "".join(TRAIN % (at, at) for at in range(1, EVENTS + 1))
    for number, cell in enumerate(cells_of(load_params(study / "params"), "many")):
        plan = layout.plan(cell.dataset, cell.pair, cell.method, cell.budget)
        plan.parent.mkdir(parents=True, exist_ok=True)
        plan.write_text(json.dumps({"iterations": EVENTS, "planned_s": float(EVENTS)}))
        if number % 2:
            files = layout.student_files(cell)
            files.folder.mkdir(parents=True)
            files.ledger.write_text(ledger)
            files.record.write_text("{}")


def _wall_s(study: Path, grid: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "isoclock", "status", grid], cwd=study, capture_output=True, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    show([measure()])
