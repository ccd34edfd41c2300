import pytest
from results_tree import cell

import documents
from isoclock.budget.audit import audit
from isoclock.errors import ArtifactError
from isoclock.records.document import write
from isoclock.report.collect import collect
from isoclock.tracking.records import read_sources


def rows(tree):
    return collect(tree.root, tree.cells).rows


def test_a_finished_cell_is_one_full_row(tree):
    tree.teacher()
    tree.profile("kd", marks=["noisy"])
    tree.scored(cell(seed=3))
    (row,) = rows(tree)
    assert (row.dataset, row.pair, row.method, row.budget, row.seed) == ("streets", "demo", "kd", "compute-400", 3)
    found = (row.status, row.protocol, row.implementation, row.device_kind)
    assert found == ("finished", "compute", "reference", documents.DEVICE_KIND)
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
    write(tree.layout.evaluation(cell()) / "scores.json", documents.scores(cell(), weights="0" * 64))
    (row,) = rows(tree)
    assert (row.status, row.miou) == ("missing", None)
    assert "other weights" in row.message


def test_a_cell_outside_its_budget_is_marked_once(tree):
    tree.profile("kd")
    tree.scored(cell(), overspent=0.05)
    assert rows(tree)[0].marks == ("off-budget",)


def test_a_cell_keeps_the_cost_that_it_was_trained_with(tree):
    """A method that is profiled again may cost something else by now; the cell was planned with the old cost."""
    tree.profile("kd")
    tree.scored(cell())
    (before,) = rows(tree)
    assert (before.cost_ratio, before.cost_low, before.peak_mib) == (1.62, pytest.approx(0.985 * 1.62), 310 + 90 * 1.62)
    tree.profile("kd", marks=["noisy"], ratio=2.5)
    (after,) = rows(tree)
    assert (after.cost_ratio, after.cost_low, after.cost_high, after.peak_mib) == (1.62, None, None, None)
    assert (after.marks, after.implementation) == ((), "reference"), "the new profile's mark is not about this cell"
    assert collect(tree.root, tree.cells).profiles["streets", "demo", "kd"].cost.ratio == 2.5, (
        "the cost table has the new one"
    )


def test_audit_report_and_mlflow_agree_on_a_segment_without_an_anchor(tree):
    """Its part is unknown, and so is the sum: not the sum over the others."""
    tree.profile("kd")
    tree.scored(cell())
    plan = tree.plan(cell())
    segments = [documents.segment(plan.planned_s / 2), documents.segment(plan.planned_s / 2, None)]
    write(tree.layout.student(cell()) / "record.json", documents.student_record(cell(), plan, segments))
    (row,), (audited,) = rows(tree), audit(tree.cells, tree.layout)
    (source,) = (one for one in read_sources(tree.layout, tree.cells, []) if one.kind == "student")
    assert row.spent_anchor_steps is None
    assert audited.spent_anchor_steps is None
    assert "work/spent_anchor_steps" not in source.finals
    assert row.spent_s == audited.spent_s == source.finals["work/spent_s"] == pytest.approx(plan.planned_s)
    assert (row.status, row.marks, audited.marks, source.tags["marks"]) == ("finished", (), (), "")


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
    study = collect(tree.root, tree.cells)
    assert study.rows[0].teacher_miou == 0.5
    assert study.teachers["avenues", "demo"].model == "pspnet-r18"


def test_two_teachers_and_no_student_leave_the_teacher_open(tree):
    tree.teacher(model="a")
    tree.teacher(model="b")
    tree.expect(cell())
    assert rows(tree)[0].teacher_miou is None


def test_all_broken_files_are_named_at_once(tree):
    tree.profile("kd")
    for seed in (0, 1):
        tree.scored(cell(seed=seed))
        (tree.root / "student" / cell(seed=seed).path / "record.json").write_text("{")
    with pytest.raises(ArtifactError) as caught:
        rows(tree)
    assert len(caught.value.problems) == 2
    assert all("isoclock student" in problem for problem in caught.value.problems)
