"""The teacher gate: profiles and students wait for the teacher's score, and do not start below what the grid demands."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

import documents
from isoclock.cli.main import main
from isoclock.dag.targets import GridTargets
from isoclock.records.document import write
from tiny_study import TinyStudy
from tuned_study import HELD_OUT, add_tuned_grid

MARK = "results/gate/toy/streets/tiny.done"
PROFILE = SimpleNamespace(dataset="streets", pair="tiny", method="none")
STUDENT = SimpleNamespace(dataset="streets", pair="tiny", method="none", budget="iteration-6", seed="0")


def demand(study: TinyStudy, miou: float, grid: str = "toy") -> None:
    line = f"study: false\nteacher_miou_at_least: {{streets: {{tiny: {miou}}}}}\n"
    path = study.folder / "params" / "grids" / f"{grid}.yaml"
    path.write_text(f"{path.read_text().partition('study:')[0]}{line}blocks:{path.read_text().partition('blocks:')[2]}")


def score(study: TinyStudy, miou: float | None, **changes: object) -> None:
    write(study.layout.teacher_files("streets", "small").record, documents.teacher_record())
    write(study.layout.teacher_scores("streets", "small").scores, documents.scores(None, miou, **changes))


def test_nothing_waits_without_a_gate(opened: Callable[..., GridTargets]) -> None:
    targets = opened()
    assert targets.gate(PROFILE) == targets.gate(STUDENT) == []
    assert targets.outputs("teacher_gate") == []


def test_profiles_and_students_wait_for_the_scores(opened: Callable[..., GridTargets], in_the_study: TinyStudy) -> None:
    demand(in_the_study, 0.4)
    targets = opened()
    assert targets.gate(PROFILE) == targets.gate(STUDENT) == targets.outputs("teacher_gate") == [MARK]
    assert targets.gated_scores(SimpleNamespace(dataset="streets", pair="tiny")) == targets.outputs("evaluate_teacher")


def test_the_figure_is_in_the_message(in_the_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    demand(in_the_study, 0.4)
    score(in_the_study, 0.3999)
    assert main(["gate", "toy", "streets/tiny"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "isoclock: teacher streets/small: mIoU 0.3999, and grid toy demands at least 0.4 of pair tiny (params/grids/toy.yaml: "
        "teacher_miou_at_least.streets.tiny); nothing of this pair is measured or trained"
    )
    score(in_the_study, 0.4)
    assert main(["gate", "toy"]) == 0
    assert capsys.readouterr().out == "teacher streets/small: mIoU 0.4000; grid toy demands at least 0.4\n"


def test_scores_that_do_not_count(in_the_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    demand(in_the_study, 0.0)
    assert main(["gate", "toy"]) == 2
    assert "scores.json: not there; `isoclock evaluate streets/small` makes it" in capsys.readouterr().err
    score(in_the_study, None)
    assert main(["gate", "toy"]) == 2
    assert "teacher streets/small: diverged, and grid toy demands at least 0 of" in capsys.readouterr().err
    score(in_the_study, 0.9, weights=documents.digest("others"))
    assert main(["gate", "toy"]) == 2
    assert "scores.json: of other weights than results/teacher/streets/small/record.json" in capsys.readouterr().err
    assert main(["gate", "toy", "streets/large"]) == 2
    assert "has nothing for streets/large; choose from streets/tiny" in capsys.readouterr().err


def test_a_gate_that_is_not_passed_any_more_is_closed(
    opened: Callable[..., GridTargets], in_the_study: TinyStudy
) -> None:
    demand(in_the_study, 0.4)
    score(in_the_study, 0.5)
    mark = in_the_study.layout.gate_mark("toy", "streets", "tiny")
    mark.parent.mkdir(parents=True)
    mark.touch()
    opened()
    assert mark.is_file()
    demand(in_the_study, 0.6)
    opened()
    assert not mark.is_file()


def test_a_sweep_has_the_gates_of_its_grid(
    opened: Callable[..., GridTargets], in_the_study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its data sets are derived, and their teachers are those of the whole data set."""
    add_tuned_grid(in_the_study.folder / "params")
    demand(in_the_study, 0.4, "weighed")
    targets = opened(grid="weighed.sweep")
    mark = f"results/gate/weighed.sweep/{HELD_OUT}/tiny.done"
    student = SimpleNamespace(dataset=HELD_OUT, pair="tiny", method="kd.x2", budget="compute-6", seed="0")
    profile = SimpleNamespace(dataset=HELD_OUT, pair="tiny", method="kd")
    assert targets.gate(profile) == targets.gate(student) == targets.outputs("teacher_gate") == [mark]
    (scores,) = targets.gated_scores(profile)
    assert scores == str(in_the_study.layout.teacher_scores("streets", "small").scores.relative_to(in_the_study.folder))
    score(in_the_study, 0.3)
    assert main(["gate", "weighed.sweep"]) == 2
    said = capsys.readouterr().err
    assert "mIoU 0.3000, and grid weighed.sweep demands at least 0.4 of pair tiny (params/grids/weighed.yaml: " in said
    assert "teacher_miou_at_least.streets.tiny)" in said
    score(in_the_study, 0.4)
    assert main(["gate", "weighed.sweep", f"{HELD_OUT}/tiny"]) == 0
