import numpy as np
import pytest
from results_tree import cell

from isoclock.report.collect import collect
from isoclock.report.differences import differences
from isoclock.report.summary import budget_size, summarise


def summaries_of(tree):
    study = collect(tree.root, tree.cells)
    return study, summarise(study.rows)


def test_seeds_become_one_summary_with_holes_counted(study_tree):
    _, summaries = summaries_of(study_tree)
    by_key = {(s.first.method, s.first.budget): s for s in summaries}
    mgd = by_key["mgd", "compute-400"]
    assert (mgd.count("finished"), mgd.count("diverged"), len(mgd.rows), mgd.miou.n) == (2, 1, 3, 2)
    assert "1 of 3 diverged" in mgd.marks
    assert mgd.mean("iterations_done") == mgd.first.iterations_planned
    fitnet = by_key["fitnet", "compute-400"]
    assert (fitnet.miou.n, fitnet.miou.mean, fitnet.teacher_share) == (0, None, None)
    assert "3 of 3 missing" in fitnet.marks
    kd = by_key["kd", "compute-400"]
    assert kd.miou.mean == pytest.approx(np.mean([row.miou for row in kd.rows]))
    assert kd.teacher_share == pytest.approx(kd.miou.mean / 0.545)


def test_budgets_come_in_order_of_protocol_and_size(study_tree):
    _, summaries = summaries_of(study_tree)
    order = list(dict.fromkeys(s.first.budget for s in summaries))
    assert order == ["iteration-400", "compute-200", "compute-400", "compute-800"]
    assert [s.first.method for s in summaries[:5]] == ["none", "kd", "fitnet", "cwd", "mgd"]
    assert len(summaries) == 20


def test_differences_are_paired_against_kd(study_tree):
    study, summaries = summaries_of(study_tree)
    found = {(d.method, d.budget): d for d in differences(study, summaries)}
    assert {d.reference for d in found.values()} == {"kd"}
    assert ("fitnet", "compute-400") not in found
    mgd = found["mgd", "compute-400"]
    scores = {s.first.method: s.scores for s in summaries if s.first.budget == "compute-400"}
    assert (mgd.over_seeds.n, mgd.over_images.n) == (2, 12)
    assert mgd.over_seeds.mean == pytest.approx(np.mean([scores["mgd"][seed] - scores["kd"][seed] for seed in (0, 1)]))
    assert mgd.over_images.mean == pytest.approx(mgd.over_seeds.mean), "the same seeds, and all images"
    assert (mgd.seeds, mgd.over_images.p >= 1 / 3) == (2, True), "two seeds have three different resamples"
    assert (mgd.p, mgd.result) == (None, "no test at n = 2, 1 of 3 diverged")
    pairs = [a > b for a in [*scores["mgd"].values(), float("-inf")] for b in scores["kd"].values()]
    assert mgd.better.mean == pytest.approx(np.mean(pairs)), "the diverged seed is the worst"


def test_p_is_adjusted_for_all_comparisons_of_the_table(study_tree):
    study, summaries = summaries_of(study_tree)
    found = differences(study, summaries)
    tests = [d for d in found if d.over_seeds.p is not None]
    least = min(tests, key=lambda d: d.over_seeds.p)
    assert least.p == pytest.approx(min(1.0, least.over_seeds.p * len(tests)))
    assert {d.over_seeds.n for d in tests} == {3}
    assert all(d.p is None and d.detectable is None for d in found if d.over_seeds.n < 3)
    words = {d.result for d in found}
    assert words <= {
        "above kd", "below kd", "within 0.5 points", "above kd, within 0.5 points", "below kd, within 0.5 points",
        "not distinguishable at n = 3", "no test at n = 2", "no test at n = 2, 1 of 3 diverged",
    }  # fmt: skip


def test_one_seed_has_no_interval_over_seeds_but_one_over_images(tree):
    for method in ("kd", "cwd"):
        tree.scored(cell(method))
    study, summaries = summaries_of(tree)
    (difference,) = differences(study, summaries)
    assert (difference.over_seeds.n, difference.over_seeds.low, difference.over_seeds.p) == (1, None, None)
    assert difference.over_images.low < difference.over_images.high


def test_without_kd_the_first_distilling_method_stands_in(tree):
    for method in ("none", "cwd", "mgd"):
        tree.scored(cell(method))
    study, summaries = summaries_of(tree)
    assert [(d.method, d.reference) for d in differences(study, summaries)] == [("none", "cwd"), ("mgd", "cwd")]


def test_budget_size():
    budgets = [
        ("compute-400", "compute"),
        ("iteration-40k", "iteration"),
        ("long", "compute"),
        ("compute-4", "iteration"),
    ]
    assert [budget_size(*budget) for budget in budgets] == ["400", "40k", "long", "compute-4"]
