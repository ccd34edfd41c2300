"""Pooled deviations and Holm's p, against their definitions and by simulation of a table without any difference."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from isoclock.statistics.estimate import Estimate, t_interval
from isoclock.statistics.pooled import holm, paired_difference, pooled_mean, pooled_over_cells, pooled_over_pairs

METHODS, SEEDS, ROUNDS = 13, 3, 1500


def by_seed(values):
    return dict(enumerate(values))


def test_over_cells_is_the_root_of_the_weighted_variances():
    cells = [[0.4, 0.42, 0.44], [0.6, 0.61], [0.7], []]
    found = pooled_over_cells([by_seed(cell) for cell in cells])
    expected = math.sqrt((2 * np.var(cells[0], ddof=1) + np.var(cells[1], ddof=1)) / 3)
    assert found.sd == pytest.approx(expected)
    assert 1 <= found.df <= 3
    assert pooled_over_cells([by_seed(cells[0])]).df == pytest.approx(2)
    assert pooled_over_cells([{0: 0.4}, {}]).sd is None


def test_cells_that_share_the_effects_of_seeds_have_fewer_degrees_of_freedom():
    draws = np.random.default_rng(3)
    seeds = draws.normal(0, 0.02, (1, 3))
    alike = [by_seed(row) for row in 0.6 + seeds + draws.normal(0, 1e-4, (10, 3))]
    apart = [by_seed(row) for row in draws.normal(0.6, 0.02, (10, 3))]
    assert pooled_over_cells(alike).df == pytest.approx(2, abs=0.01), "ten copies of three seeds tell what three tell"
    assert pooled_over_cells(apart).df > 5


def test_over_pairs_is_the_residual_of_a_two_way_analysis():
    scores = np.random.default_rng(1).normal(0.5, 0.05, (4, 3))
    residual = scores - scores.mean(0) - scores.mean(1, keepdims=True) + scores.mean()
    found = pooled_over_pairs([[by_seed(row) for row in scores]])
    assert (found.sd, found.df) == (pytest.approx(math.sqrt((residual**2).sum() / 6)), 6)


def test_two_methods_alone_give_the_paired_t_test_over_shared_seeds():
    first, second = {0: 0.44, 1: 0.47, 2: 0.45, 9: 0.99}, {0: 0.43, 1: 0.44, 2: 0.44, 8: 0.01}
    found = paired_difference(first, second, pooled_over_pairs([[first, second]]))
    expected = scipy_stats.ttest_rel([0.44, 0.47, 0.45], [0.43, 0.44, 0.44])
    interval = expected.confidence_interval(0.95)
    assert (found.n, found.mean, found.p) == pytest.approx((3, 0.05 / 3, expected.pvalue))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_two_seeds_have_an_interval_and_no_p():
    two = [by_seed(row) for row in np.random.default_rng(2).normal(0.5, 0.05, (4, 2))]
    found = paired_difference(two[0], two[1], pooled_over_pairs([two]))
    assert found.low < found.mean < found.high
    assert found.p is None


def test_one_seed_or_none_or_no_spread_has_no_interval():
    others = pooled_over_pairs([[{0: 0.1, 1: 0.3}, {0: 0.2, 1: 0.2}]])
    assert paired_difference({0: 0.5}, {0: 0.25}, others) == Estimate(1, 0.25)
    assert paired_difference({0: 0.5}, {1: 0.25}, others).n == 0
    same = [{0: 0.5, 1: 0.5, 2: 0.5}, {0: 0.25, 1: 0.25, 2: 0.25}]
    assert paired_difference(*same, pooled_over_pairs([same])).p is None
    assert pooled_mean(t_interval([0.4]), others).low is None


def test_holm_leaves_out_what_is_no_test():
    assert holm([0.04, None, 0.01, 0.03]) == pytest.approx([0.06, None, 0.03, 0.06])
    assert holm([None]) == [None]


@pytest.fixture(scope="module")
def tables():
    """Tables without any difference between methods; seeds have an effect of their own."""
    draws = np.random.default_rng(4)
    seeds = draws.normal(0, 0.02, (ROUNDS, 1, SEEDS))
    return 0.6 + seeds + draws.normal(0, 0.01, (ROUNDS, METHODS, SEEDS))


def test_a_table_without_differences_shows_one_in_five_per_cent(tables):
    """The family-wise error of twelve comparisons at n = 3; without adjustment it was 47 % and more."""
    adjusted, plain = 0, 0
    for table in tables:
        methods = [by_seed(row) for row in table]
        pooled = pooled_over_pairs([methods])
        ps = [paired_difference(one, methods[0], pooled).p for one in methods[1:]]
        plain += min(ps) < 0.05
        adjusted += min(ps) * len(ps) < 0.05  # Holm's smallest p
    assert min(holm(ps)) == pytest.approx(min(1, min(ps) * len(ps)))
    assert adjusted / ROUNDS < 0.05 + 2 * math.sqrt(0.05 * 0.95 / ROUNDS)
    assert plain / ROUNDS > 0.25, "the adjustment is needed"


def test_intervals_cover_in_95_per_cent(tables):
    mean, difference = 0, 0
    for table in tables:
        methods = [by_seed(row) for row in table]
        one = paired_difference(methods[1], methods[0], pooled_over_pairs([methods]))
        difference += one.low <= 0 <= one.high
        own = pooled_mean(t_interval(list(table[0])), pooled_over_cells(methods))
        mean += own.low <= 0.6 <= own.high
    error = 3 * math.sqrt(0.05 * 0.95 / ROUNDS)
    assert difference / ROUNDS == pytest.approx(0.95, abs=error)
    assert mean / ROUNDS == pytest.approx(0.95, abs=0.02)
