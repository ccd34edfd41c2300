"""A yardstick's cell under both protocols is trained once, and stands in both places."""

from __future__ import annotations

import json
from typing import Any

import pytest

from isoclock.budget.audit import audit
from isoclock.cli.main import main
from isoclock.files import read_json, sha256_file
from isoclock.grid.cells import Cell, same_training
from isoclock.runner.run import train_student
from tiny_study import TinyStudy, cell, write_plan

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
ITERATION, COMPUTE = cell("kd", "iteration-6"), cell("kd", "compute-6")


def plans(study: TinyStudy, iterations: int = 6, **changes: Any) -> None:
    """Plans of both cells; `iterations` and `changes` are the compute-matched one's."""
    path = write_plan(study)
    plan = read_json(path, "plan") | {
        "budget": "compute-6",
        "protocol": "compute",
        "yardstick": "kd",
        "iterations": iterations,
    }
    path.with_name("compute-6.json").write_text(json.dumps(plan | changes))


def train(study: TinyStudy, *cells: Cell) -> list[dict[str, Any]]:
    for one in cells:
        assert train_student(study.params, one, study.layout) == "finished"
    return [read_json(study.layout.student(one) / "record.json", "student") for one in cells]


@pytest.mark.parametrize("order", [(ITERATION, COMPUTE), (COMPUTE, ITERATION)], ids=["iteration", "compute"])
def test_the_second_is_a_copy_of_the_first(taught_study: TinyStudy, order: tuple[Cell, Cell]) -> None:
    plans(taught_study)
    first, second = train(taught_study, *order)
    assert second["trained_as"] == order[0].path
    assert "trained_as" not in first
    assert second["cell"] == order[1].as_dict()
    assert second["plan"]["budget"] == order[1].budget
    assert second["run_id"] != first["run_id"]
    assert second["digests"]["weights"] == first["digests"]["weights"]
    for name in ("weights.safetensors", "ledger.jsonl", "validation.npz"):
        digests = {sha256_file(taught_study.layout.student(one) / name) for one in order}
        assert len(digests) == 1
    assert not taught_study.layout.student_run(order[1]).exists(), "one run folder"
    rows = audit(list(order), taught_study.layout)
    assert [row.cell for row in rows] == list(order)
    assert rows[0].spent_s == rows[1].spent_s


def test_a_damaged_record_of_the_other_is_reported_and_not_used(
    taught_study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    plans(taught_study)
    taught_study.layout.student(ITERATION).mkdir(parents=True)
    (taught_study.layout.student(ITERATION) / "record.json").write_text("[]")
    assert train_student(taught_study.params, COMPUTE, taught_study.layout) == "finished"
    assert f"its result is not used for student {COMPUTE.path}" in capsys.readouterr().out
    assert "trained_as" not in read_json(taught_study.layout.student(COMPUTE) / "record.json", "student")


def test_taken_over_again_it_has_the_same_bytes(taught_study: TinyStudy) -> None:
    plans(taught_study)
    train(taught_study, ITERATION, COMPUTE)
    path = taught_study.layout.student(COMPUTE) / "record.json"
    before = path.read_bytes()
    path.unlink()
    train(taught_study, COMPUTE)
    assert path.read_bytes() == before


def test_other_iterations_are_another_training(taught_study: TinyStudy) -> None:
    """A yardstick that was profiled again may get one iteration less of the budget that was accepted with it."""
    plans(taught_study, iterations=5)
    _, compute = train(taught_study, ITERATION, COMPUTE)
    assert "trained_as" not in compute
    assert compute["iterations"] == {"planned": 5, "done": 5}


def test_other_params_are_another_training(taught_study: TinyStudy) -> None:
    plans(taught_study)
    train(taught_study, ITERATION)
    taught_study.edit("methods.yaml", "weights: {kd: 1.0}", "weights: {kd: 2.0}")
    assert "trained_as" not in train(taught_study, COMPUTE)[0]


def test_damaged_weights_are_not_taken_over(taught_study: TinyStudy) -> None:
    plans(taught_study)
    train(taught_study, ITERATION)
    path = taught_study.layout.student(ITERATION) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "trained_as" not in train(taught_study, COMPUTE)[0]


def test_what_is_the_same_follows_from_the_budgets(empty_study: TinyStudy) -> None:
    params = empty_study.params
    assert same_training(params, ITERATION) == [COMPUTE]
    assert same_training(params, COMPUTE) == [ITERATION]
    assert same_training(params, cell("none", "compute-6")) == []
    assert same_training(params, cell("none", "iteration-6")) == []


def test_another_implementation_is_another_training(empty_study: TinyStudy) -> None:
    empty_study.edit("budgets.yaml", "yardstick: kd", "yardstick: mgd")
    assert same_training(empty_study.params, cell("mgd", "compute-6")) == [cell("mgd", "iteration-6")]
    assert same_training(empty_study.params, cell("mgd.tuned", "compute-6")) == []


def test_its_scores_are_its_own_files(taught_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    plans(taught_study)
    train(taught_study, ITERATION, COMPUTE)
    monkeypatch.chdir(taught_study.folder)
    scores = []
    for one in (ITERATION, COMPUTE):
        assert main(["evaluate", one.path]) == 0
        scores.append(read_json(taught_study.layout.evaluation(one) / "scores.json", "evaluate"))
    assert [found["cell"]["budget"] for found in scores] == ["iteration-6", "compute-6"]
    assert scores[0]["miou"] == scores[1]["miou"]
