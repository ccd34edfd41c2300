"""One cell of ten failed (fault 15): the report is built from the others, shows the hole, and states n."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_makers import MemoryLimit
from trainers import Trainer

from isoclock.cli.main import main
from isoclock.grid.cells import cells
from isoclock.params.check import load_params
from tiny_study import write_plan

pytestmark = pytest.mark.xdist_group("faults")
GRID = """\
about: Ten seeds of the anchor.
study: false
blocks:
  - datasets: [streets]
    pairs: [tiny]
    methods: [none]
    budgets: [iteration-6]
    seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
"""


@pytest.mark.slow
def test_nine_of_ten(
    trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trainer("none")
    study = run.study
    study.edit("training.yaml", "evaluations: 2", "evaluations: 0")
    (study.folder / "params/grids/ten.yaml").write_text(GRID)
    write_plan(study, "none", iterations=1)
    monkeypatch.chdir(study.folder)
    monkeypatch.setattr("isoclock.runner.run.choose_device", _the_cpu)
    for cell in cells(load_params(), "ten")[1:]:
        assert main(["student", cell.path]) == 0
        assert main(["evaluate", cell.path]) == 0
    study.edit("training.yaml", "batch: 2", "batch: 4096")  # the tenth cell really fails
    assert run.run(MemoryLimit(more_mib=200)) == 2, run.said
    assert "out of memory" in run.said
    study.edit("training.yaml", "batch: 4096", "batch: 2")

    assert main(["report", "--grid", "ten"]) == 0
    folder = Path("results/report/ten")
    with (folder / "cells.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["status"] for row in rows] == ["missing", *["finished"] * 9]
    assert rows[0]["message"].startswith("not trained: no student/streets/tiny/none/iteration-6/0/record.json")
    table = (folder / "comparison.md").read_text()
    assert "9 of 10" in table
    assert "1 missing" in table
    page = (folder / "report.html").read_text()
    assert "9 of 10" in page
    assert "student/streets/tiny/none/iteration-6/0/record.json" in page
    capsys.readouterr()
    assert main(["audit", "--grid", "ten"]) == 0
    assert "9 of 10 cells have a run record" in capsys.readouterr().out


def _the_cpu() -> object:
    import torch

    return torch.device("cpu")
