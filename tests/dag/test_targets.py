from __future__ import annotations

from types import SimpleNamespace

import pytest

import documents
from isoclock.cluster import site as site_module
from isoclock.cluster.site import OVERHEAD_MIN, RUNTIME_FLOOR_MIN, Site
from isoclock.dag.targets import ASSUMED_MIN, Study
from isoclock.files import sha256_json
from isoclock.grid.stamps import budget_stamp
from isoclock.records.document import write
from tiny_study import TinyStudy, add_avenues


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
    assert study.teacher_scores() == ["results/teacher/streets/small/scores.json"]
    assert study.profiles() == [
        f"results/profile/streets/tiny/{m}.json" for m in ("none", "kd", "fitnet", "cwd", "mgd")
    ]
    assert len(study.plans()) == len(study.students()) == len(study.evaluations()) == 10
    assert study.plans()[1] == "results/plan/streets/tiny/none/compute-6.json"
    assert study.students()[2] == "results/student/streets/tiny/kd/iteration-6/0/record.json"
    assert study.evaluations()[2] == "results/evaluate/streets/tiny/kd/iteration-6/0/scores.json"
    assert study.report() == "results/report/toy/report.html"


def test_mlflow_hears_of_a_teacher_once_it_is_scored() -> None:
    study = opened()
    assert study.synced_after(SimpleNamespace(stage="teacher")) == study.teacher_scores() + study.profiles()


def test_a_shared_teacher_is_trained_once_and_its_data_are_prepared(in_the_study: TinyStudy) -> None:
    add_avenues(in_the_study.folder / "params")
    both, only = (Study.open({"grid": grid}) for grid in ("both", "avenues"))
    assert both.teachers() == only.teachers() == ["results/teacher/streets/small/record.json"]
    assert both.teacher_scores() == only.teacher_scores() == ["results/teacher/streets/small/scores.json"]
    assert only.prepared() == ["results/data/avenues/index.json", "results/data/streets/index.json"]
    wildcards = SimpleNamespace(dataset="avenues", pair="tiny", method="kd")
    assert only.teacher_of(wildcards) == ["results/teacher/streets/small/record.json"]


def test_opening_writes_the_stamps(in_the_study: TinyStudy) -> None:
    opened()
    stamps = {
        str(path.relative_to(in_the_study.folder)) for path in in_the_study.folder.rglob("results/stamps/**/*.json")
    }
    assert "results/stamps/student/streets/tiny/kd.json" in stamps
    assert len(stamps) == 17


def test_stamps_stay_while_a_snakemake_works_here(in_the_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    opened()
    root = in_the_study.folder / "results/stamps"
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.json")}
    lock = in_the_study.folder / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    opened()
    assert capsys.readouterr().err == "", "as its own jobs do"
    in_the_study.edit("methods.yaml", "weights: {kd: 1.0}", "weights: {kd: 2.0}")
    missing = root / "evaluate/streets.json"
    missing.unlink()
    opened()
    assert "isoclock: results/stamps/student/streets/tiny/kd.json: params/ or code changed" in capsys.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in root.rglob("*.json")}
    assert after.keys() == before.keys(), "another grid's are written"
    assert {path for path in after if after[path] != before[path]} == {missing}
    lock.unlink()
    opened()
    assert (root / "student/streets/tiny/kd.json").stat().st_mtime_ns > before[root / "student/streets/tiny/kd.json"]


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
    wildcards = SimpleNamespace(dataset="streets", pair="tiny", method="kd", budget="compute-6")
    assert study.teacher_of(wildcards) == ["results/teacher/streets/small/record.json"]
    alone = SimpleNamespace(dataset="streets", pair="tiny", method="none")
    assert study.teacher_of(alone) == [], "who learns from nobody waits for nobody"
    assert study.yardstick_profile(wildcards) == ["results/profile/streets/tiny/kd.json"]
    assert study.yardstick_profile(SimpleNamespace(dataset="streets", pair="tiny", budget="iteration-6")) == []
    assert study.threads("streets", "student") == 1
    assert not study.is_study


def test_a_budget_is_to_be_resolved_where_it_is_of_something_else(in_the_study: TinyStudy) -> None:
    wildcards = SimpleNamespace(dataset="streets", pair="tiny", budget="compute-6")
    assert not opened().is_to_be_resolved(wildcards), "there is none yet"
    path = in_the_study.layout.accepted_budget("streets", "tiny", "compute-6")
    entry = sha256_json(budget_stamp(in_the_study.params, "streets", "tiny", "compute-6"))
    write(path, documents.accepted_budget(entry=entry))
    assert not opened().is_to_be_resolved(wildcards)
    path.write_text("cut o")
    assert opened().is_to_be_resolved(wildcards)
    write(path, documents.accepted_budget(entry=entry))
    in_the_study.edit("training.yaml", "batch: 2", "batch: 4")
    assert opened().is_to_be_resolved(wildcards)


def test_loader_processes_are_asked_for_too(in_the_study: TinyStudy) -> None:
    in_the_study.edit("training.yaml", "workers: 0", "workers: 3")
    assert opened().threads("streets", "student") == 4


def test_the_runtime_comes_from_the_plan(in_the_study: TinyStudy) -> None:
    path = in_the_study.folder / "plan.json"
    study = opened()
    for planned_s, minutes in ((1.0, RUNTIME_FLOOR_MIN), (7200.0, 180), (7201.0, 181)):
        write(path, documents.plan(planned_s=planned_s))
        assert study.student_runtime_min(str(path)) == minutes
    with pytest.raises(FileNotFoundError):
        study.student_runtime_min("results/plan/none.json")


def test_a_damaged_plan_leaves_the_runtime_assumed(in_the_study: TinyStudy) -> None:
    """The plan is made again before the job starts, or the job itself reports the damage."""
    path = in_the_study.folder / "plan.json"
    path.write_text('{"schema": 1}')
    assert opened().student_runtime_min(str(path)) == ASSUMED_MIN["student"]


def on_a_cluster(monkeypatch: pytest.MonkeyPatch, limit_min: int, **values: object) -> Study:
    """A study of a process that submits to a cluster with jobs of up to that many minutes."""
    # A name that no partition of this machine has, if it has SLURM at all.
    site = Site.model_validate({"partition": "none-such", "account": None, "job_limit_min": limit_min, **values})
    monkeypatch.setattr(site_module, "_in_use", site)
    monkeypatch.setattr(site_module, "_read_from", site_module.SITE_FILE)
    return opened()


def test_on_a_cluster_no_job_asks_for_more_than_its_limit(
    in_the_study: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = in_the_study.folder / "plan.json"
    study = on_a_cluster(monkeypatch, 120)
    for planned_s, minutes in ((1.0, RUNTIME_FLOOR_MIN), (3600.0, 90 + OVERHEAD_MIN), (7200.0, 120), (1e6, 120)):
        write(path, documents.plan(planned_s=planned_s))
        assert study.student_runtime_min(str(path)) == minutes
    assert study.runtime_min("teacher") == 120
    assert study.runtime_min("evaluate") == 60 + OVERHEAD_MIN


def test_a_student_is_submitted_as_often_as_its_longest_plan_takes_and_twice_more(
    in_the_study: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = on_a_cluster(monkeypatch, 60 + OVERHEAD_MIN)
    for number, plan in enumerate(study.plans()):
        # 1.5 times that many minutes: up to 540
        write(in_the_study.folder / plan, documents.plan(planned_s=max(1.0, 60.0 * 40 * number)))
    assert study.retries("student") == 9 + 2
    assert on_a_cluster(monkeypatch, 60 + OVERHEAD_MIN, spare_retries=7).retries("student") == 9 + 7
    assert on_a_cluster(monkeypatch, 1000).retries("student") == 1 + 2
    assert study.retries("teacher") == ASSUMED_MIN["teacher"] / 60 + 2


def test_a_student_without_a_plan_is_taken_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_a_cluster(monkeypatch, 240 + OVERHEAD_MIN).retries("student") == 6 + 2


def test_off_the_cluster_and_within_jobs_the_command_line_says_how_often() -> None:
    assert opened().retries("student") is None
    assert opened().retries("teacher") is None


def test_a_placeholder_ends_it_before_the_first_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened().check_site()
    on_a_cluster(monkeypatch, 60).check_site()
    study = on_a_cluster(monkeypatch, 60, account="FILL-IN")
    with pytest.raises(SystemExit) as caught:
        study.check_site()
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("isoclock: workflow/profiles/slurm/site.yaml: account: still FILL-IN; ")


def test_a_study_refuses_marks_where_its_grid_says_so(in_the_study: TinyStudy) -> None:
    in_the_study.edit("grids/toy.yaml", "study: false", "study: true")
    assert opened().is_study


def test_jobs_of_a_study_are_told_so(in_the_study: TinyStudy) -> None:
    assert opened().study_option == ""
    in_the_study.edit("grids/toy.yaml", "study: false", "study: true")
    assert opened().study_option == "--study"


def test_a_yardsticks_cell_waits_for_the_one_that_is_the_same_training(in_the_study: TinyStudy) -> None:
    def before(method: str, budget: str) -> list[str]:
        wildcards = SimpleNamespace(dataset="streets", pair="tiny", method=method, budget=budget, seed="0")
        return opened().trained_before(wildcards)

    assert before("kd", "compute-6") == ["results/student/streets/tiny/kd/iteration-6/0/record.json"]
    assert before("kd", "iteration-6") == before("none", "compute-6") == []
    in_the_study.edit("grids/toy.yaml", "[iteration-6, compute-6]", "[compute-6]")
    assert before("kd", "compute-6") == [], "the grid has no other"
