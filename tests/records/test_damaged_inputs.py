"""Damaged documents, through the verbs that read them: one line with path and key, exit status 2, and no traceback."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import documents
from isoclock.cli.main import main
from isoclock.records.document import Document, plain, write
from tiny_study import TinyStudy, cell, write_plan

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
CELL = cell()
DAMAGES: dict[str, dict[str, Any]] = {
    "schema: 99": {"schema": 99},
    "iterations": {"iterations": "6"},
    "marks": {"marks": None},
    "device_kind": {"device_kind": ["cpu"]},
    "speed: unknown key": {"speed": 1},
}


@pytest.fixture(autouse=True)
def _in_the_study(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(name for name in ("taught_study", "prepared_study", "empty_study") if name in request.fixturenames)
    monkeypatch.chdir(request.getfixturevalue(name).folder)


def damage(path: Path, document: Document, **changes: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**plain(document), **changes}))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a verb prints when it refuses its input: one line."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("isoclock: warning")]
    assert line.startswith("isoclock: ")
    return line


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schema": 99}, "schema: 99, but this version of isoclock reads schema 2"),
        ({"iterations": -5}, "iterations: must be greater than or equal to 1, not -5"),
        ({"iterations": "6"}, "iterations: must be a valid integer, not '6'"),
        ({"iterations": 6.5}, "iterations: must be a valid integer"),
        ({"device_kind": None}, "device_kind: must be a valid string, not None"),
    ],
)
def test_a_student_refuses_a_damaged_plan(
    prepared_study: TinyStudy, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], problem: str
) -> None:
    path = write_plan(prepared_study)
    damage(path, documents.plan(CELL), **changes)
    line = refused(capsys, "student", CELL.path)
    assert "plan/streets/tiny/kd/iteration-6.json: " in line
    assert problem in line
    assert line.endswith("; remove it and run `isoclock plan streets tiny iteration-6 kd` again")
    assert not prepared_study.layout.student_run(CELL).exists()


def test_a_student_refuses_a_damaged_record_of_its_teacher(
    taught_study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plan(taught_study)
    path = taught_study.layout.teacher("streets", "small") / "record.json"
    content = json.loads(path.read_text())
    del content["digests"]["weights"]
    path.write_text(json.dumps(content))
    assert "teacher/streets/small/record.json: digests.weights: missing; " in refused(capsys, "student", CELL.path)


@pytest.mark.parametrize("verb", ["student", "teacher", "profile", "evaluate"])
def test_a_damaged_index_is_one_line(taught_study: TinyStudy, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    write_plan(taught_study)
    path = taught_study.layout.prepared("streets") / "index.json"
    content = json.loads(path.read_text())
    content["splits"]["train"]["class_pixels"] = "many"
    path.write_text(json.dumps(content))
    arguments = {
        "student": (CELL.path,),
        "teacher": ("streets", "small"),
        "profile": ("streets", "tiny", "kd"),
        "evaluate": ("streets/small",),
    }
    line = refused(capsys, verb, *arguments[verb])
    assert "index.json: splits.train.class_pixels: must be a valid " in line
    assert line.endswith("run `isoclock prepare streets` again")


@pytest.mark.parametrize(
    ("verb", "key"),
    # A store takes seconds to make: one damage is enough for `sync`.
    [("sync", "segments"), *product(("report", "audit", "evaluate", "plan --dry"), (*DAMAGES, "segments"))],
)
def test_a_damaged_record_is_one_line(
    prepared_study: TinyStudy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str, key: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{prepared_study.folder / 'mlflow.db'}")
    layout, changes = prepared_study.layout, {**DAMAGES, "segments": {"segments": [{}]}}[key]
    if verb == "plan --dry":
        path, document = layout.teacher("streets", "small") / "record.json", documents.teacher_record()
    else:
        path, document = layout.student(CELL) / "record.json", documents.student_record(CELL)
    if key in ("marks", "device_kind"):  # of a record, these are keys of its plan
        changes = {"plan": {**plain(documents.plan(CELL)), **changes}}
    damage(path, document, **changes)
    arguments = {
        "report": ["report", "--grid", "toy", "--table-only"],
        "audit": ["audit", "--grid", "toy"],
        "sync": ["sync", "--grid", "toy"],
        "evaluate": ["evaluate", CELL.path],
        "plan --dry": ["plan", "--dry", "--grid", "toy"],
    }[verb]
    line = refused(capsys, *arguments)
    assert f"{path.relative_to(prepared_study.folder)}: " in line
    assert "plan" in line if "plan" in changes and verb == "plan --dry" else key in line


@pytest.mark.parametrize("key", DAMAGES)
@pytest.mark.parametrize("which", ["profile", "accepted", "remembered"])
def test_a_plan_refuses_damaged_inputs(
    empty_study: TinyStudy, capsys: pytest.CaptureFixture[str], which: str, key: str
) -> None:
    layout, where = empty_study.layout, ("streets", "tiny")
    write(layout.profile(*where, "kd"), documents.profile())
    write(layout.accepted_budget(*where, "compute-6"), documents.accepted_budget())
    path, document, arguments = {
        "profile": (layout.profile(*where, "kd"), documents.profile(), ["compute-6", "kd"]),
        "accepted": (layout.accepted_budget(*where, "compute-6"), documents.accepted_budget(), ["compute-6", "kd"]),
        "remembered": (
            layout.accepted_record("budget", *where, "compute-6"),
            documents.accepted_budget(),
            ["compute-6"],
        ),
    }[which]
    damage(path, document, **DAMAGES[key])
    line = refused(capsys, "plan", *where, *arguments)
    assert f"{path.relative_to(empty_study.folder)}: " in line
    assert key in line or (which == "profile" and "iterations: unknown key" in line)
    assert not layout.plan(*where, "kd", "compute-6").exists()


@pytest.mark.parametrize("which", ["profile", "plan", "scores", "teacher scores"])
def test_a_report_refuses_damaged_inputs(
    empty_study: TinyStudy, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    layout = empty_study.layout
    write(layout.student(CELL) / "record.json", documents.student_record(CELL))
    path, document = {
        "profile": (layout.profile("streets", "tiny", "kd"), documents.profile()),
        "plan": (layout.plan("streets", "tiny", "none", "iteration-6"), documents.plan(cell("none"))),
        "scores": (layout.evaluation(CELL) / "scores.json", documents.scores(CELL)),
        "teacher scores": (layout.teacher("streets", "small") / "scores.json", documents.scores(None)),
    }[which]
    damage(path, document, protocol_version="2")
    line = refused(capsys, "report", "--grid", "toy", "--table-only")
    assert f"{path.relative_to(empty_study.folder)}: protocol_version: must be a valid integer, not '2'" in line


def test_all_damaged_records_are_reported_together(empty_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    for method in ("kd", "mgd"):
        damage(
            empty_study.layout.student(cell(method)) / "record.json", documents.student_record(cell(method)), status=1
        )
    for verb in (["audit"], ["report", "--table-only"]):
        assert main([*verb, "--grid", "toy"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert ["record.json: status: must be 'finished' or 'diverged', not 1" in line for line in lines] == [
            True,
            True,
        ]


def test_adopt_reports_a_damaged_record_with_all_that_is_missing(
    empty_study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(empty_study.layout.student(CELL) / "record.json", documents.student_record(CELL), schema=99)
    assert main(["adopt", "--grid", "toy"]) == 2
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if "schema: 99" in line]
    assert f"student/{CELL.path}/record.json: " in line
    assert any("not there" in line for line in lines)
