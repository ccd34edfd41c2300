"""Time and memory of `isoclock plan --dry` for a grid of 2,000 cells, compared with one of ten, once FLOPs are known."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from dry_run import CELLS_PER_SEED, study_with_grids
from measure import PEAK_MIB, Goal, Result, in_turns, pairwise, show

MIB_AT_MOST = 150


def measure(rounds: int = 5, cells: int = 2000) -> Result:
    """Measure a study without profiles and results, whose FLOPs an earlier forecast has counted."""
    with TemporaryDirectory() as name:
        study = study_with_grids(Path(name), cells)
        _forecast(study, "few")
        peaks: list[float] = []

        def many() -> float:
            seconds, mib = _forecast(study, "many")
            peaks.append(mib)
            return seconds

        found = in_turns(rounds, many=many, few=lambda: _forecast(study, "few")[0])
    name_many, name_few = f"{cells} cells", f"{CELLS_PER_SEED} cells"
    return Result(
        "plan_dry",
        "`isoclock plan --dry` in a fresh process",
        {name_many: found["many"], name_few: found["few"]},
        {
            f"{name_many} / {name_few}": pairwise(found["many"], found["few"]),
            f"peak / {MIB_AT_MOST} MiB": [mib / MIB_AT_MOST for mib in peaks],
        },
        [Goal(name_many, 2.0), Goal(f"peak / {MIB_AT_MOST} MiB", 1.0)],
        {"cells": cells, "peak_mib": peaks},
    )


def _forecast(study: Path, grid: str) -> tuple[float, float]:
    """Seconds of a forecast in a process of its own, and MiB at the peak of that process."""
    program = (
        "import sys; from isoclock.cli.main import main; status = main(sys.argv[1:]); "
        f"print({PEAK_MIB}, file=sys.stderr); sys.exit(status)"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, "plan", "--dry", "--grid", grid],
        cwd=study,
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - started, float(done.stderr.split()[-1])


if __name__ == "__main__":
    show([measure()])
