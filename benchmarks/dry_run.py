"""Time of `snakemake --dry-run` for a grid of a thousand cells, compared with one of ten."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from measure import ROOT, Goal, Result, in_turns, pairwise, show

CELLS_PER_SEED = 10  # of the demo grid: five methods under two budgets


def measure(rounds: int = 3, cells: int = 1000) -> Result:
    """Measure a study without results, so that all jobs of the grid are in the graph."""
    with TemporaryDirectory() as name:
        study = study_with_grids(Path(name), cells)
        found = in_turns(rounds, many=lambda: _wall_s(study, "many"), few=lambda: _wall_s(study, "few"))
    many, few = f"{cells} cells", f"{CELLS_PER_SEED} cells"
    return Result(
        "dry_run",
        "wall time of `snakemake --dry-run all` before anything is made",
        {many: found["many"], few: found["few"]},
        {f"{many} / {few}": pairwise(found["many"], found["few"])},
        [Goal(many, 10.0)],
        {"cells": cells, "jobs_per_cell": 2},
    )


def study_with_grids(study: Path, cells: int) -> Path:
    """Give a folder this project's params, with a grid `many` of so many cells, and a grid `few` of CELLS_PER_SEED."""
    shutil.copytree(ROOT / "params", study / "params")
    for grid, count in (("many", cells), ("few", CELLS_PER_SEED)):
        (study / "params" / "grids" / f"{grid}.yaml").write_text(_demo_with_seeds(count // CELLS_PER_SEED))
    return study


def _demo_with_seeds(count: int) -> str:
    """The demo grid with `count` seeds, and so with `count * CELLS_PER_SEED` cells."""
    grid = yaml.safe_load((ROOT / "params" / "grids" / "demo.yaml").read_text())
    for block in grid["blocks"]:
        block["seeds"] = list(range(count))
    return str(yaml.safe_dump(grid))


def _wall_s(study: Path, grid: str) -> float:
    program = str(Path(sys.executable).with_name("snakemake"))
    command = [program, "-n", "-s", str(ROOT / "Snakefile"), "--directory", str(study), "--cores", "2"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--config", f"grid={grid}", "--", "all"],
        cwd=study,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    took_s = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"snakemake failed:\n{done.stdout[-2000:]}")
    return took_s


if __name__ == "__main__":
    show([measure()])
