import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoclock.report.break_even import Needed, break_even
from isoclock.report.collect import CellRow
from isoclock.report.curve import Bounds
from isoclock.report.summary import summarise

ONE_SEED = "tie not shown at n = 1, which needs 3"


def seeds(method, budget, iterations, cost, mious, yardstick="kd", kind="cpu", pretrain=0.0):
    """The cells of one method and budget; an mIoU of None is a hole."""
    protocol = budget.split("-")[0]
    return [
        CellRow(
            "streets", "demo", method, budget, seed, "missing" if miou is None else "finished", protocol=protocol,
            yardstick=yardstick if protocol == "compute" else None, device_kind=kind, iterations_planned=iterations,
            planned_anchor_steps=iterations * cost + pretrain, miou=miou,
        )
        for seed, miou in enumerate(mious)
    ]  # fmt: skip


def of(*cells):
    return break_even(summarise([row for rows in cells for row in rows]), "streets", "demo")


def kd(*more):
    """400 anchor-steps: 0.40; 1,600: 0.50; at 2 anchor-steps an iteration."""
    return [
        *seeds("kd", "compute-200", 200, 2.0, [0.40]),
        *seeds("kd", "compute-800", 800, 2.0, [0.50]),
        *(row for rows in more for row in rows),
    ]


def verdicts(found):
    return {row.point.method: found.verdict(row, row.needed) for row in found.rows}


def test_by_hand():
    # m scored 0.45, which kd has after sqrt(400 * 1600) = 800 anchor-steps; it spent 1,600 on 320 iterations of 5.
    (row,) = of(kd(), seeds("m", "compute-800", 320, 5.0, [0.45])).rows
    assert row.needed.kd_steps.known == pytest.approx(800)
    assert row.needed.times_cheaper.known == pytest.approx(2)
    assert row.needed.cost_to_tie.known == pytest.approx(2.5)


def test_kd_under_another_name_breaks_even_at_one():
    found = of(kd(), seeds("same", "compute-200", 200, 2.0, [0.40]), seeds("same", "compute-800", 800, 2.0, [0.50]))
    assert [row.needed.times_cheaper.known for row in found.rows] == [1, 1]
    assert verdicts(found) == {"same": ONE_SEED}
    assert [point.method for point in found.kd] == ["kd", "kd"]


@pytest.mark.parametrize(
    ("iterations", "cost", "miou", "verdict"),
    [
        (320, 2.4, 0.45, ONE_SEED),
        (320, 5.0, 0.45, "cheaper, and may stay more expensive than kd"),
        (500, 3.0, 0.45, "only if cheaper than kd"),
        (1000, 1.6, 0.45, "out of reach: even at zero overhead"),
        (300, 5.0, 0.51, "tie not shown at n = 1, which needs 5"),
        (800, 5.0, 0.51, "not decided: above what kd was measured at"),
        (100, 2.0, 0.39, "not decided: below what kd was measured at"),
        (300, 5.0, 0.39, "only if cheaper than kd, if at all"),
        (100, 5.0, 0.39, "cheaper: kd was not measured so low"),
        (500, 5.0, 0.39, "out of reach: even at zero overhead"),
    ],
)
def test_verdicts(iterations, cost, miou, verdict):
    assert verdicts(of(kd(), seeds("m", "compute-800", iterations, cost, [miou]))) == {"m": verdict}


def test_the_anchor_has_nothing_to_save_whatever_its_cost_was_measured_as():
    found = of(kd(), seeds("none", "compute-800", 790, 1.05, [0.45]), seeds("m", "compute-800", 790, 1.05, [0.45]))
    assert verdicts(found) == {"none": "out of reach: even at zero overhead", "m": "only if cheaper than kd"}


def test_at_the_smallest_budget_the_rest_of_an_iteration_does_not_make_a_loss_undecided():
    found = of(kd(), seeds("m", "compute-200", 133, 3.0, [0.39]), seeds("none", "compute-200", 399, 1.002, [0.39]))
    assert verdicts(found) == {
        "m": "cheaper: kd was not measured so low",
        "none": "out of reach: even at zero overhead",
    }


def test_equally_many_iterations_are_one_point_and_two_runs_of_a_seed_one_value():
    found = of(seeds("kd", "iteration-200", 200, 2.0, [0.40, None]), seeds("kd", "compute-200", 200, 2.0, [0.42, 0.44]))
    (point,) = found.kd
    assert point.budgets == ("iteration-200", "compute-200")
    assert point.scores == pytest.approx({0: 0.41, 1: 0.44})
    assert (point.seeds, point.marks) == (2, ("1 of 2 missing",))
    assert found.curve.mious == pytest.approx((0.425,))


def test_a_falling_mean_is_pooled_by_seeds():
    found = of(
        kd(),
        seeds("kd", "compute-1600", 1600, 2.0, [0.46, 0.48]),
        seeds("m", "compute-800", 320, 5.0, [0.48]),
    )
    assert found.curve.mious == pytest.approx((0.40, 0.48, 0.48))
    assert found.rows[0].needed.kd_steps.known == pytest.approx(1600)


def test_each_seed_meets_its_own_curve():
    found = of(
        seeds("kd", "compute-200", 200, 2.0, [0.40, 0.42, 0.30]),
        seeds("kd", "compute-800", 800, 2.0, [0.50, 0.52, None]),
        seeds("m", "compute-800", 320, 5.0, [0.45, 0.42, 0.35, 0.45]),
    )
    (row,) = found.rows
    assert [seed for seed, _ in row.by_seed] == [0, 1, 2]
    assert [needed.times_cheaper for _, needed in row.by_seed][1:] == [Bounds(4, 4), Bounds(0, 4)]
    assert row.by_seed[0][1].times_cheaper.known == pytest.approx(2)
    assert len(row.point.scores) == 4


@pytest.mark.parametrize(
    ("cost", "mious", "verdict", "interval"),
    [
        (2.5, [0.45, 0.451, 0.449], "ties or wins already", (0.966, 1.035)),
        (2.6, [0.45, 0.451, 0.449], "ties or wins already", (1.004, 1.077)),
        (2.5, [0.45, 0.470, 0.430], "tie not shown at n = 3", (0.502, 1.991)),
    ],
)
def test_three_seeds_have_an_interval_and_a_tie_is_within_the_margin(cost, mious, verdict, interval):
    kd_cells = [*seeds("kd", "compute-200", 200, 2.0, [0.40] * 3), *seeds("kd", "compute-800", 800, 2.0, [0.50] * 3)]
    found = of(kd_cells, seeds("m", "compute-400", 320, cost, mious))
    assert verdicts(found) == {"m": verdict}
    assert found.rows[0].interval == pytest.approx(interval, abs=0.01)


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize(("iterations", "miou"), [(320, 0.45), (640, 0.50)], ids=["middle", "end"])
def test_a_true_factor_of_1_1_is_called_a_tie_in_five_per_cent_at_most(n, iterations, miou):
    """Scores with noise of 0.3 points around the curve of kd; the method needs 1.1 times what kd needs. At the end of the
    curve about half of all seeds have only a bound.
    """
    draws, ties, rounds = np.random.default_rng(9), 0, 300
    for _ in range(rounds):
        noise = draws.normal(0, 0.003, (3, n))
        kd_cells = [
            *seeds("kd", "compute-200", 200, 2.0, (0.40 + noise[0]).tolist()),
            *seeds("kd", "compute-800", 800, 2.0, (0.50 + noise[1]).tolist()),
        ]
        found = of(kd_cells, seeds("m", "compute-400", iterations, 1.1 * 2.5, (miou + noise[2]).tolist()))
        ties += verdicts(found) == {"m": "ties or wins already"}
    assert ties / rounds <= 0.05


def test_holes_have_no_ratio_and_stay():
    found = of(kd(seeds("kd", "compute-400", 400, 2.0, [None])), seeds("m", "compute-800", 320, 5.0, [None, None]))
    (row,) = found.rows
    assert (row.needed, row.why_not, row.point.hole) == (None, "not scored", "× 2 missing")
    assert [point.miou for point in found.kd] == [0.40, None, 0.50]
    assert found.curve.steps == (400, 1600)


def test_pre_training_is_spent_too():
    (row,) = of(kd(), seeds("m", "compute-800", 300, 5.0, [0.45], pretrain=100.0)).rows
    assert row.needed.times_cheaper.known == pytest.approx(2)
    assert row.point.cost == pytest.approx(1600 / 300)


@pytest.mark.parametrize(
    ("cells", "why_not"),
    [
        (seeds("kd", "iteration-200", 200, 2.0, [0.4]), "no compute budget here has a yardstick"),
        (seeds("m", "compute-200", 200, 2.0, [0.4]), "no cell of kd, its budgets' yardstick, is in the grid"),
        (seeds("kd", "compute-200", 200, 2.0, [None]), "no cell of kd, its budgets' yardstick, is scored"),
        (kd(seeds("m", "compute-9", 9, 2.0, [0.4], yardstick="m")), "several yardsticks: kd, m"),
        (kd(seeds("kd", "compute-9", 9, 2.0, [0.4], kind="gpu")), "several device kinds (cpu; gpu)"),
    ],
)
def test_without_one_yardstick_there_is_none_and_it_says_why(cells, why_not):
    found = of(cells)
    assert why_not in found.why_not
    assert (found.rows, found.curve) == ((), None)


def test_the_yardstick_is_what_the_budgets_say():
    swapped = seeds("fitnet", "compute-200", 200, 2.0, [0.4], yardstick="fitnet")
    found = of(swapped, seeds("kd", "compute-200", 200, 2.0, [0.4], yardstick="fitnet"))
    assert (found.yardstick, [row.point.method for row in found.rows]) == ("fitnet", ["kd"])


def test_another_device_kind_does_not_compare():
    (row,) = of(kd(), seeds("m", "iteration-300", 300, 2.0, [0.4], kind="gpu")).rows
    assert row.needed is None
    assert "trained on gpu" in row.why_not


@given(st.floats(0.35, 0.55), st.integers(10, 10_000), st.floats(1, 20), st.floats(0.1, 10))
def test_a_more_expensive_iteration_must_become_cheaper_in_proportion(miou, iterations, cost, factor):
    (one,) = of(kd(), seeds("m", "compute-800", iterations, cost, [miou])).rows
    (costlier,) = of(kd(), seeds("m", "compute-800", iterations, cost * factor, [miou])).rows
    before, after = one.needed.times_cheaper, costlier.needed.times_cheaper
    assert after.low == pytest.approx(before.low * factor)
    assert math.isinf(after.high) == math.isinf(before.high)
    assert math.isinf(after.high) or after.high == pytest.approx(before.high * factor)
    assert costlier.needed.cost_to_tie == one.needed.cost_to_tie


@given(st.floats(0.35, 0.55), st.floats(0.35, 0.55))
def test_more_miou_never_asks_for_more(first, second):
    worse, better = (
        of(kd(), seeds("m", "compute-800", 320, 5.0, [miou])).rows[0].needed.times_cheaper
        for miou in sorted((first, second))
    )
    assert better.low <= worse.low * (1 + 1e-9)
    assert better.high <= worse.high * (1 + 1e-9)


@given(st.floats(1, 1e6), st.integers(1, 10_000), st.floats(0.1, 20), st.floats(1, 20))
def test_a_number_is_always_decided(kd_steps, iterations, cost, kd_cost):
    verdict = Needed(Bounds(kd_steps, kd_steps), iterations * cost, iterations).verdict("kd", kd_cost)
    assert "not decided" not in verdict
    assert "not measured" not in verdict
    assert "if at all" not in verdict
