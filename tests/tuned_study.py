"""A tiny grid whose weights are tuned, and results of its sweep as Snakemake leaves them, without any training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import documents
from isoclock.grid.cells import Cell, cells
from isoclock.grid.stamps import student_values
from isoclock.records.document import build, plain, write
from isoclock.records.record import StudentRecord
from tiny_study import FILES, TinyStudy

HELD_OUT = "streets.held-out-0.4-seed-1"
TUNE = """\
tune:
  budget: compute-6
  held_out: 0.4
  held_out_seed: 1
  factors: [0.5, 1.0, 2.0]
"""
SCORES: Mapping[str, float | None] = {
    "none": 0.40, "none.x0.5": 0.38, "none.x2": 0.42, "kd": 0.44, "kd.x0.5": 0.44, "kd.x2": None,
}  # fmt: skip
"""mIoU on the images held out, by method; None: the run diverged."""


def add_tuned_grid(params: Path, weights: str = "tuned") -> None:
    """Grid `weighed`: `none` and `kd` under both budgets, which is to be tuned."""
    grid = FILES["grids/toy.yaml"].replace("[none, kd, fitnet, cwd, mgd]", "[none, kd]")
    (params / "grids" / "weighed.yaml").write_text(f"{grid}weights: {weights}\n{TUNE}", encoding="utf-8")


def write_sweep(study: TinyStudy, scores: Mapping[str, float | None] = SCORES) -> None:
    """Records and scores of the sweep of grid `weighed`; each run spent 9 anchor-steps in 0.9 s. No score: no record."""
    for cell in cells(study.params, "weighed.sweep"):
        if cell.method in scores:
            write_cell(study, cell, scores[cell.method])


def write_cell(study: TinyStudy, cell: Cell, miou: float | None) -> None:
    """Record and scores of a cell that was trained with the values in params/."""
    status = "diverged" if miou is None else "finished"
    content = plain(documents.student_record(cell, status=status, message="loss is nan" if miou is None else ""))
    content["params"] = {**student_values(study.params, cell), "classes": list(documents.CLASSES)}
    write(study.layout.student_files(cell).record, build(StudentRecord, content))
    write(study.layout.student_scores(cell).scores, documents.scores(cell, miou))
