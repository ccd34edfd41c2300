"""Files that the workflow makes, and the input functions of its rules."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import documents
from isoclock.dag.start import open_targets
from isoclock.dag.targets import GridTargets
from isoclock.files import sha256_json
from isoclock.grid.stamps import budget_stamp
from isoclock.records.document import write
from tiny_study import TinyStudy, add_avenues
from tuned_study import HELD_OUT, add_tuned_grid


def test_it_names_every_file_once_and_relative_to_the_study(opened: Callable[..., GridTargets]) -> None:
    targets = opened()
    assert targets.outputs("prepare") == ["results/data/streets/index.json"]
    assert targets.outputs("teacher") == ["results/teacher/streets/small/record.json"]
    assert targets.outputs("evaluate_teacher") == ["results/teacher/streets/small/scores.json"]
    assert targets.outputs("profile") == [
        f"results/profile/streets/tiny/{m}.json" for m in ("none", "kd", "fitnet", "cwd", "mgd")
    ]
    assert len(targets.outputs("plan")) == len(targets.outputs("student")) == len(targets.outputs("evaluate")) == 10
    assert targets.outputs("plan")[1] == "results/plan/streets/tiny/none/compute-6.json"
    assert targets.outputs("student")[2] == "results/student/streets/tiny/kd/iteration-6/0/record.json"
    assert targets.outputs("evaluate")[2] == "results/evaluate/streets/tiny/kd/iteration-6/0/scores.json"
    assert targets.outputs("report") == ["results/report/toy/report.html"]


def test_a_teacher_is_synced_after_its_scores(opened: Callable[..., GridTargets]) -> None:
    targets = opened()
    assert targets.synced_after(SimpleNamespace(stage="teacher")) == targets.outputs(
        "evaluate_teacher"
    ) + targets.outputs("profile")


def test_a_shared_teacher_is_trained_once_and_its_data_are_prepared(in_the_study: TinyStudy) -> None:
    add_avenues(in_the_study.folder / "params")
    both, only = (open_targets({"grid": grid}) for grid in ("both", "avenues"))
    assert both.outputs("teacher") == only.outputs("teacher") == ["results/teacher/streets/small/record.json"]
    assert (
        both.outputs("evaluate_teacher")
        == only.outputs("evaluate_teacher")
        == ["results/teacher/streets/small/scores.json"]
    )
    assert only.outputs("prepare") == ["results/data/avenues/index.json", "results/data/streets/index.json"]
    wildcards = SimpleNamespace(dataset="avenues", pair="tiny", method="kd")
    assert only.teacher_of(wildcards) == ["results/teacher/streets/small/record.json"]


def test_one_method_keeps_the_grids_yardsticks(opened: Callable[..., GridTargets]) -> None:
    targets = opened(method="fitnet")
    assert {cell.method for cell in targets.jobs.cells} == {"fitnet"}
    assert len(targets.outputs("student")) == 2
    assert "results/profile/streets/tiny/kd.json" in targets.outputs("profile"), "the budget needs its yardstick"


def test_a_method_of_a_sweep_has_all_its_factors_and_one_profile(in_the_study: TinyStudy) -> None:
    add_tuned_grid(in_the_study.folder / "params")
    targets = open_targets({"grid": "weighed.sweep", "method": "kd"})
    assert [cell.method for cell in targets.jobs.cells] == ["kd.x0.5", "kd", "kd.x2"]
    assert len(open_targets({"grid": "weighed.sweep", "method": "kd.x2"}).jobs.cells) == 1
    profiles = {
        path for job in targets.jobs.of("plan") for path in targets.profile_of(SimpleNamespace(**job.wildcards))
    }
    assert profiles == {f"results/profile/{HELD_OUT}/tiny/kd.json"} <= set(targets.outputs("profile"))


def test_input_functions_of_rules(opened: Callable[..., GridTargets]) -> None:
    targets = opened()
    wildcards = SimpleNamespace(dataset="streets", pair="tiny", method="kd", budget="compute-6")
    assert targets.teacher_of(wildcards) == ["results/teacher/streets/small/record.json"]
    alone = SimpleNamespace(dataset="streets", pair="tiny", method="none")
    assert targets.teacher_of(alone) == [], "a method without a teacher does not wait for one"
    assert targets.yardstick_profile(wildcards) == ["results/profile/streets/tiny/kd.json"]
    assert targets.yardstick_profile(SimpleNamespace(dataset="streets", pair="tiny", budget="iteration-6")) == []
    assert targets.resources.threads("streets", "student") == 1
    assert not targets.is_study


def test_a_budget_of_another_entry_or_recipe_is_to_be_resolved(
    opened: Callable[..., GridTargets], in_the_study: TinyStudy
) -> None:
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


def test_a_study_grid_refuses_marked_profiles(opened: Callable[..., GridTargets], in_the_study: TinyStudy) -> None:
    in_the_study.edit("grids/toy.yaml", "study: false", "study: true")
    assert opened().is_study


def test_jobs_of_a_study_have_the_option(opened: Callable[..., GridTargets], in_the_study: TinyStudy) -> None:
    assert opened().study_option == ""
    in_the_study.edit("grids/toy.yaml", "study: false", "study: true")
    assert opened().study_option == "--study"


def test_a_yardstick_cell_waits_for_the_same_training(
    opened: Callable[..., GridTargets], in_the_study: TinyStudy
) -> None:
    def before(method: str, budget: str) -> list[str]:
        wildcards = SimpleNamespace(dataset="streets", pair="tiny", method=method, budget=budget, seed="0")
        return opened().trained_before(wildcards)

    assert before("kd", "compute-6") == ["results/student/streets/tiny/kd/iteration-6/0/record.json"]
    assert before("kd", "iteration-6") == before("none", "compute-6") == []
    in_the_study.edit("grids/toy.yaml", "[iteration-6, compute-6]", "[compute-6]")
    assert before("kd", "compute-6") == [], "the grid has no other"
