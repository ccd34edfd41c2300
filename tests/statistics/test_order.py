"""Probability of improvement and ranks, against their definitions and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from isoclock.statistics.order import WORST, Rank, probability_of_improvement, ranks
from isoclock.statistics.pooled import Pooled, pooled_over_pairs

ROUNDS = 600


def test_it_is_the_mann_whitney_statistic():
    first, second = [0.4, 0.5, 0.6], [0.3, 0.5]
    found = probability_of_improvement(first, second)
    assert found.mean == pytest.approx(scipy_stats.mannwhitneyu(first, second).statistic / 6)
    assert 0 < found.low < found.mean < found.high < 1


@pytest.mark.parametrize(("first", "second", "expected"), [([2, 3, 4], [1, 1, 1], 1.0), ([1, 1, 1], [2, 3, 4], 0.0)])
def test_a_clear_order_has_a_bound_on_one_side(first, second, expected):
    found = probability_of_improvement(first, second)
    assert found.mean == expected
    assert (found.low, found.high)[int(expected)] == expected
    assert found.high - found.low > 0.3, "three runs do not show more"


def test_diverged_runs_are_the_worst_and_tie_with_each_other():
    assert probability_of_improvement([0.1, 0.2], [WORST, WORST]).mean == 1
    assert probability_of_improvement([WORST, 0.2], [WORST, 0.1]).mean == pytest.approx(0.25 * (0.5 + 0 + 1 + 1))
    assert probability_of_improvement([0.2], [0.1]).low is None
    assert probability_of_improvement([], [0.1]).n == 0


@pytest.mark.parametrize(("n", "coverage"), [(3, 0.87), (5, 0.92)])
@pytest.mark.parametrize("shift", [0.0, 0.5, 1.5])
def test_its_interval_covers(shift, n, coverage):
    draws, true = np.random.default_rng(5), scipy_stats.norm.cdf(shift / math.sqrt(2))
    hits = 0
    for _ in range(ROUNDS):
        found = probability_of_improvement(draws.normal(shift, 1, n).tolist(), draws.normal(0, 1, n).tolist())
        hits += found.low <= true <= found.high
    assert hits / ROUNDS > coverage


def test_ranks_are_those_of_the_means_and_diverged_runs_come_last():
    scores = [[0.5, 0.52], [0.7, 0.71], [0.6, 0.61], [0.9], []]
    found = ranks(scores, [0, 0, 0, 1, 0], Pooled(0.01, 4))
    assert [one and one.place for one in found] == [3, 1, 2, 4, None]
    assert found[1] == Rank(1, 1, 4, 4), "two seeds show no order"


def test_far_means_leave_one_place():
    scores = [[0.50, 0.51, 0.52], [0.70, 0.72, 0.71], [0.62, 0.60, 0.61]]
    found = ranks(scores, [0, 0, 0], pooled_over_pairs([[dict(enumerate(one)) for one in scores]]))
    assert [(one.place, one.low, one.high) for one in found] == [(3, 3, 3), (1, 1, 1), (2, 2, 2)]
    diverged = ranks(scores, [0, 1, 0], pooled_over_pairs([[dict(enumerate(one)) for one in scores]]))
    assert (diverged[1].place, diverged[1].high) == (3, 3)


def test_intervals_contain_the_true_ranks_of_all_methods_together():
    true = np.array([0.60, 0.605, 0.61, 0.62, 0.64])
    order = {value: place for place, value in enumerate(sorted(true, reverse=True), 1)}
    draws, hits = np.random.default_rng(6), 0
    for _ in range(ROUNDS):
        scores = (
            draws.normal(true[:, None], 0.01, (5, 5)) + draws.normal(0, 0.02, 5)
        ).tolist()  # with effects of seeds
        found = ranks(scores, [0] * 5, pooled_over_pairs([[dict(enumerate(one)) for one in scores]]))
        hits += all(one.low <= order[value] <= one.high for one, value in zip(found, true, strict=True))
    assert hits / ROUNDS > 0.95 - 3 * math.sqrt(0.05 * 0.95 / ROUNDS)


def test_equal_methods_are_in_order_by_chance_only():
    draws, wrong = np.random.default_rng(8), 0
    for _ in range(ROUNDS):
        scores = (draws.normal(0.6, 0.01, (5, 3)) + draws.normal(0, 0.02, 3)).tolist()
        found = ranks(scores, [0] * 5, pooled_over_pairs([[dict(enumerate(one)) for one in scores]]))
        wrong += any(one.low > 1 or one.high < 5 for one in found)
    assert wrong / ROUNDS < 0.05 + 2 * math.sqrt(0.05 * 0.95 / ROUNDS)
