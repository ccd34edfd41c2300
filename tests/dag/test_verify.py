"""Results against params/, code and each other, as `isoclock adopt` compares them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from isoclock.budget.plan import accept_budget, make_plan
from isoclock.budget.profile import profile_method
from isoclock.cli.main import main
from isoclock.dag.verify import Verifier
from isoclock.grid.stamps import refresh
from isoclock.runner.run import train_student
from tiny_study import TinyStudy, cell

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
CELL = cell("kd")


@pytest.fixture
def made(taught_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    """A grid of one cell of which everything is made."""
    study = taught_study
    study.edit("grids/toy.yaml", "[none, kd, fitnet, cwd, mgd]", "[kd]")
    study.edit("grids/toy.yaml", "[iteration-6, compute-6]", "[iteration-6]")
    monkeypatch.chdir(study.folder)
    params, layout = study.params, study.layout
    refresh(params, "toy", layout)
    profile_method(params, "streets", "tiny", "kd", layout)
    accept_budget(params, "streets", "tiny", "iteration-6", layout)
    make_plan(params, "streets", "tiny", "kd", "iteration-6", layout, study=False)
    assert train_student(params, CELL, layout) == "finished"
    for target in (CELL.path, "streets/small"):
        assert main(["evaluate", target]) == 0
    assert main(["report", "--grid", "toy"]) == 0
    return study


def problems(study: TinyStudy) -> list[str]:
    checked = Verifier(study.params, study.layout)
    checked.grid("toy")
    return checked.problems


def test_what_was_made_here_is_in_order_and_each_change_is_a_line(made: TinyStudy) -> None:
    assert problems(made) == []
    layout = made.layout
    record, scores = layout.student(CELL) / "record.json", layout.evaluation(CELL) / "scores.json"

    def after(path: Any, key: str, value: Any) -> list[str]:
        before = path.read_bytes()
        content = json.loads(before)
        content[key] = {**content[key], **value} if isinstance(value, dict) else value
        path.write_text(json.dumps(content))
        found = problems(made)
        path.write_bytes(before)
        return found

    (line,) = after(record, "digests", {"data": "another"})
    assert "record.json: made from another data than is here" in line
    (line,) = after(record, "schema", 99)
    assert f"{record}: schema: 99, but" in line
    (line,) = after(scores, "weights", "another")
    assert "scores.json: made from another weights than is here" in line
    (line,) = after(scores, "miou", 0.999)
    assert "scores.json: mIoU 0.999 is not that of confusion.npz" in line
    (line,) = after(layout.accepted_budget("streets", "tiny", "iteration-6"), "entry", "another")
    assert "accepted/iteration-6.json: made from another params than is here" in line
    made.edit("methods.yaml", "weights: {kd: 1.0}", "weights: {kd: 2.0}")
    (line,) = problems(made)
    assert "kd/iteration-6/0/record.json: made from another method than is here" in line
