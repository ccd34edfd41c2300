"""The reader that audit, report and MLflow share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import documents
from documents import CELL
from isoclock.errors import ArtifactError
from isoclock.grid.layout import Layout
from isoclock.records.document import write
from isoclock.records.results import Results, scores_problem


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "results", tmp_path / "runs")


def test_what_is_not_there_is_none_and_no_problem(layout: Layout) -> None:
    results = Results(layout)
    assert results.record(CELL) is results.run(CELL) is results.plan(CELL) is results.scores(CELL) is None
    assert results.profile("streets", "tiny", "kd") is results.accepted_budget("streets", "tiny", "compute-6") is None
    assert results.teacher_record("streets", "small") is results.teacher_scores("streets", "small") is None
    results.check()


def test_each_document_is_found_where_its_verb_writes_it(layout: Layout) -> None:
    write(layout.student(CELL) / "record.json", documents.student_record())
    write(layout.student_run(CELL) / "run.json", documents.student_run())
    write(layout.teacher("streets", "small") / "record.json", documents.teacher_record())
    write(layout.teacher_run("streets", "small") / "run.json", documents.teacher_run())
    write(layout.teacher("streets", "small") / "scores.json", documents.scores(None))
    write(layout.evaluation(CELL) / "scores.json", documents.scores())
    write(layout.plan(CELL.dataset, CELL.pair, CELL.method, CELL.budget), documents.plan())
    results = Results(layout)
    assert results.record(CELL) == documents.student_record()
    assert results.run(CELL) == documents.student_run()
    assert results.teacher_record("streets", "small") == documents.teacher_record()
    assert results.teacher_run("streets", "small") == documents.teacher_run()
    assert results.teacher_scores("streets", "small") == documents.scores(None)
    assert results.scores(CELL) == documents.scores()
    assert results.plan(CELL) == documents.plan()


def test_a_damaged_document_is_one_problem_however_often_it_is_asked_for(layout: Layout) -> None:
    path = layout.student(CELL) / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    results = Results(layout)
    assert results.record(CELL) is results.record(CELL) is None
    (line,) = results.problems
    assert line.startswith(f"{path}: schema: missing; ")
    with pytest.raises(ArtifactError, match=f"isoclock student {CELL.path}"):
        results.check()


@pytest.mark.parametrize(
    ("now", "same"),
    [
        ({}, True),
        ({"marks": ["noisy"]}, True),
        ({"ratio": 1.6}, False),
        ({"device_kind": "cuda:big"}, False),
        ({"protocol_version": 1}, False),
    ],
)
def test_a_profile_is_the_plans_own_while_cost_device_and_version_are(
    layout: Layout, now: dict[str, Any], same: bool
) -> None:
    profile = documents.profile(**now)
    write(layout.profile("streets", "tiny", "kd"), profile)
    assert Results(layout).planned_profile(documents.plan()) == (profile if same else None)


def test_scores_are_those_of_the_runs_weights_and_version() -> None:
    record, teacher = documents.student_record(), documents.teacher_record()
    assert scores_problem(record, documents.scores()) is None
    assert "not scored" in str(scores_problem(record, None))
    assert "other weights" in str(scores_problem(record, documents.scores(weights="another")))
    assert "scored under version 1" in str(scores_problem(record, documents.scores(protocol_version=1)))
    assert scores_problem(teacher, documents.scores(None, protocol_version=1)) is None, "its weights are of any version"
    assert "other weights" in str(scores_problem(teacher, documents.scores(None, weights="another")))
