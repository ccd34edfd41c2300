import json

import pytest
from results_tree import cell, path_of

from isoclock.errors import ArtifactError
from isoclock.report.collect import collect


def rows(tree):
    return collect(tree.root, tree.cells, tree.audit).rows


def test_a_finished_cell_is_one_full_row(tree):
    tree.teacher()
    tree.profile("kd", marks=["noisy"])
    tree.scored(cell(seed=3))
    (row,) = rows(tree)
    assert (row.dataset, row.pair, row.method, row.budget, row.seed) == ("streets", "demo", "kd", "compute-400", 3)
    assert (row.status, row.protocol, row.implementation, row.device_kind) == (
        "finished",
        "compute",
        "reference",
        "cpu",
    )
    assert (row.iterations_planned, row.iterations_done) == (400, 400)
    assert row.spent_anchor_steps == pytest.approx(1.004 * row.planned_anchor_steps)
    assert (row.cost_ratio, row.teacher_miou, row.marks) == (1.62, 0.545, ("noisy",))
    assert 0.3 < row.miou < 0.7
    assert "per_class_iou" not in row.tidy()


def test_holes_are_rows_that_say_what_to_do(tree):
    tree.profile("kd")
    tree.expect(cell(seed=0))
    tree.student(cell(seed=1))
    tree.student(cell(seed=2), status="diverged", message="loss is nan at iteration 73")
    untrained, unscored, diverged = rows(tree)
    assert (untrained.status, untrained.miou) == ("missing", None)
    assert "isoclock student" in untrained.message
    assert untrained.planned_anchor_steps == pytest.approx(648)
    assert untrained.spent_s is None
    assert (unscored.status, "isoclock evaluate" in unscored.message) == ("missing", True)
    assert (diverged.status, diverged.message) == ("diverged", "loss is nan at iteration 73")


def test_a_grid_without_any_result_is_all_holes(tmp_path):
    protocols = {"iteration-400": "compute"}  # the entry has it, whatever the name
    (row,) = collect(tmp_path, [cell(budget="iteration-400")], protocols=protocols).rows
    assert (row.status, row.protocol, row.planned_s, row.cost_ratio) == ("missing", "compute", None, None)


def test_scores_of_other_weights_are_a_hole(tree):
    tree.profile("kd")
    tree.scored(cell())
    path = tree.root / "evaluate" / path_of(cell()) / "scores.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights": "0" * 64}))
    (row,) = rows(tree)
    assert (row.status, row.miou) == ("missing", None)
    assert "other weights" in row.message


def test_a_cell_outside_its_budget_is_marked_once(tree):
    tree.profile("kd")
    tree.scored(cell(), overspent=0.05)
    assert rows(tree)[0].marks == ("outside 3 %",)
    tree.audit[0]["marks"] = []
    assert rows(tree)[0].marks == ("spent +5.0 % of plan",)


def test_without_an_audit_the_record_speaks(tree):
    tree.profile("kd")
    tree.scored(cell())
    (row,) = collect(tree.root, tree.cells).rows
    assert row.spent_anchor_steps == pytest.approx(648 * 1.004)


def test_the_teacher_is_the_one_the_students_had(tree):
    tree.teacher(model="pspnet-r18", miou=0.5)
    tree.teacher(model="pspnet-r101", miou=0.7)
    tree.profile("kd")
    tree.scored(cell())
    assert rows(tree)[0].teacher_miou == 0.5


def test_a_teacher_may_be_another_data_sets(tree):
    tree.teacher(dataset="streets", model="pspnet-r101", miou=0.7)
    tree.teacher(dataset="streets", model="pspnet-r18", miou=0.5)
    tree.teacher(dataset="avenues", model="pspnet-r50", miou=0.6)
    tree.profile("kd", dataset="avenues")
    tree.scored(cell(dataset="avenues"))
    study = collect(tree.root, tree.cells, tree.audit)
    assert study.rows[0].teacher_miou == 0.5
    assert study.teachers["avenues", "demo"]["model"] == "pspnet-r18"


def test_two_teachers_and_no_student_leave_the_teacher_open(tree):
    tree.teacher(model="a")
    tree.teacher(model="b")
    tree.expect(cell())
    assert rows(tree)[0].teacher_miou is None


def test_all_broken_files_are_named_at_once(tree):
    tree.profile("kd")
    for seed in (0, 1):
        tree.scored(cell(seed=seed))
        (tree.root / "student" / path_of(cell(seed=seed)) / "record.json").write_text("{")
    with pytest.raises(ArtifactError) as caught:
        rows(tree)
    assert len(caught.value.problems) == 2
    assert all("isoclock student" in problem for problem in caught.value.problems)
