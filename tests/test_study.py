from __future__ import annotations

from types import SimpleNamespace

import pytest

from isoclock.artifacts import write_json
from isoclock.study import RUNTIME_FLOOR_MIN, Study
from tiny_study import TinyStudy


@pytest.fixture(autouse=True)
def in_the_study(empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    monkeypatch.chdir(empty_study.folder)
    return empty_study


def opened(**config: object) -> Study:
    return Study.open({"grid": "toy", **config})


def test_it_names_every_file_once_and_relative_to_the_study() -> None:
    study = opened()
    assert study.prepared() == ["results/data/streets/index.json"]
    assert study.teachers() == ["results/teacher/streets/small/record.json"]
    assert study.profiles() == [
        f"results/profile/streets/tiny/{m}.json" for m in ("none", "kd", "fitnet", "cwd", "mgd")
    ]
    assert len(study.plans()) == len(study.students()) == len(study.evaluations()) == 10
    assert study.plans()[1] == "results/plan/streets/tiny/none/compute-6.json"
    assert study.students()[2] == "results/student/streets/tiny/kd/iteration-6/0/record.json"
    assert study.evaluations()[2] == "results/evaluate/streets/tiny/kd/iteration-6/0/scores.json"
    assert study.report() == "results/report/toy/report.html"


def test_opening_writes_the_stamps(in_the_study: TinyStudy) -> None:
    opened()
    stamps = {
        str(path.relative_to(in_the_study.folder)) for path in in_the_study.folder.rglob("results/stamps/**/*.json")
    }
    assert "results/stamps/student/streets/tiny/kd.json" in stamps
    assert len(stamps) == 16


def test_one_method_keeps_the_grids_yardsticks() -> None:
    study = opened(method="fitnet")
    assert {cell.method for cell in study.cells} == {"fitnet"}
    assert len(study.students()) == 2
    assert "results/profile/streets/tiny/kd.json" in study.profiles(), "the budget needs its yardstick"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"grids": "toy"}, "--config grids: unknown key; there are: grid, method"),
        ({"grid": "toi"}, "there is no grid 'toi'; there are: toy"),
        ({}, "there is no grid 'demo'; there are: toy"),
        ({"grid": 3}, "there is no grid '3'"),
        ({"grid": "toy", "method": "dkd"}, "there is no method 'dkd'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    config: dict[str, object], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        Study.open(config)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("isoclock: ")
    assert told in line


def test_a_method_that_the_grid_does_not_run(in_the_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    in_the_study.edit("grids/toy.yaml", "cwd, mgd]", "cwd]")
    with pytest.raises(SystemExit):
        opened(method="mgd")
    assert "--config method=mgd: grid toy has no cell of it" in capsys.readouterr().err


def test_every_mistake_in_params_is_told(in_the_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    in_the_study.edit("grids/toy.yaml", "cwd, mgd]", "cwd, dgm]")
    in_the_study.edit("budgets.yaml", "yardstick: kd", "yardstick: dk")
    with pytest.raises(SystemExit) as caught:
        opened()
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_what_a_rule_asks_for_its_wildcards() -> None:
    study = opened()
    wildcards = SimpleNamespace(dataset="streets", pair="tiny", budget="compute-6")
    assert study.teacher_of(wildcards) == "results/teacher/streets/small/record.json"
    assert study.yardstick_profile(wildcards) == ["results/profile/streets/tiny/kd.json"]
    assert study.yardstick_profile(SimpleNamespace(dataset="streets", pair="tiny", budget="iteration-6")) == []
    assert study.threads("streets", "student") == 1
    assert not study.is_study


def test_loader_processes_are_asked_for_too(in_the_study: TinyStudy) -> None:
    in_the_study.edit("training.yaml", "workers: 0", "workers: 3")
    assert opened().threads("streets", "student") == 4


def test_the_runtime_comes_from_the_plan(in_the_study: TinyStudy) -> None:
    path = in_the_study.folder / "plan.json"
    study = opened()
    for planned_s, minutes in ((1.0, RUNTIME_FLOOR_MIN), (7200.0, 180), (7201.0, 181)):
        write_json(path, {"planned_s": planned_s})
        assert study.student_runtime_min(str(path)) == minutes
    with pytest.raises(FileNotFoundError):
        study.student_runtime_min("results/plan/none.json")


def test_a_study_refuses_marks_where_its_grid_says_so(in_the_study: TinyStudy) -> None:
    in_the_study.edit("grids/toy.yaml", "study: false", "study: true")
    assert opened().is_study
