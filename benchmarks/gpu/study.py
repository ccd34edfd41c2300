"""A study at full size from generated scenes: python benchmarks/gpu/study.py FOLDER [--tiny]"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from isoclock.data.streets.make import make_streets

ROOT = Path(__file__).resolve().parents[2]
NAME = "bench"
READY = "ready"  # a file of the folder, once everything is there
DATASET = """
bench:
  reader: cityscapes
  root: data/bench
  train: train
  val: val
  provenance:
    "*": ours
"""
RECIPE = """
bench:
  shared: *cityscapes
  teacher:
    iterations: 30
    evaluations: 1
    provenance:
      "*": ours
  student:
    evaluations: 1
    provenance:
      "*": ours
"""
TINY_RECIPE = """
bench:
  shared: *streets
  teacher:
    lr: 0.04
    iterations: 8
    threads: 1
    evaluations: 1
    provenance:
      "*": ours
  student: *streets-student
"""
GRID = """about: Every verb once, on generated scenes.
study: false
blocks:
  - datasets: [bench]
    pairs: [{pair}]
    methods: [none, kd]
    budgets: [{budget}]
    seeds: [0]
"""
BUDGET = """
  compute-bench:
    protocol: compute
    yardstick: kd
    iterations: {iterations}
    provenance:
      "*": "ours: one GPU, one minute"
"""


def main() -> None:
    """Write params/, generate scenes, and prepare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    folder, tiny = arguments.folder, arguments.tiny
    shutil.rmtree(folder, ignore_errors=True)
    params = folder / "params"
    shutil.copytree(ROOT / "params", params)
    _append(params / "datasets.yaml", DATASET)
    _append(params / "training.yaml", TINY_RECIPE if tiny else RECIPE)
    _append(params / "budgets.yaml", BUDGET.format(iterations=60 if tiny else 220))
    models = params / "models.yaml"
    text = re.sub(r"weights: resnet\S+", "weights: random", models.read_text())
    models.write_text(text.replace("    teacher: psp-r101\n", "    profile: demo\n    teacher: psp-r101\n"))
    grid = GRID.format(pair="r10t-tiny" if tiny else "r101-r18", budget="compute-bench")
    (params / "grids" / f"{NAME}.yaml").write_text(grid)
    raw = folder / "data" / NAME
    make_streets(raw, train=4 if tiny else 16, val=2 if tiny else 4, size=(128, 256) if tiny else (1024, 2048))
    subprocess.run([sys.executable, "-m", "isoclock", "prepare", NAME], cwd=folder, check=True)
    (folder / READY).touch()


def _append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


if __name__ == "__main__":
    main()
