"""Two one-sided tests, and the smallest difference that can be detected, by simulation."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from isoclock.statistics.equivalence import detectable, equivalence_p
from isoclock.statistics.estimate import Estimate, t_interval
from isoclock.statistics.pooled import Pooled, paired_difference, pooled_over_cells, pooled_over_pairs

ROUNDS, MARGIN = 2000, 0.005


def test_it_is_the_larger_of_two_t_tests():
    values = [0.001, -0.002, 0.0005, 0.003]
    found = equivalence_p(t_interval(values), 3, MARGIN)
    below = scipy_stats.ttest_1samp(values, -MARGIN, alternative="greater").pvalue
    above = scipy_stats.ttest_1samp(values, MARGIN, alternative="less").pvalue
    assert found == pytest.approx(max(below, above))


def test_two_seeds_or_no_spread_are_no_test():
    assert equivalence_p(t_interval([0.001, 0.002]), 1, MARGIN) is None
    assert equivalence_p(Estimate(5, 0.001), 4, MARGIN) is None
    assert detectable(Pooled(0.01, 20), 2, 12) is None
    assert detectable(Pooled(None, 0), 5, 12) is None


def differences(true, methods, seeds, sd=0.004):
    """Differences between a method that is better by `true` and the first, in tables of equal methods."""
    draws = np.random.default_rng(7)
    for table in draws.normal(0.6, sd, (ROUNDS, methods, seeds)):
        table[1] += true
        found = [dict(enumerate(row)) for row in table]
        pooled = pooled_over_pairs([found])
        yield paired_difference(found[1], found[0], pooled), pooled


def test_a_difference_as_large_as_the_margin_is_called_equal_in_five_per_cent():
    wrong = sum(equivalence_p(found, pooled.df, MARGIN) < 0.05 for found, pooled in differences(MARGIN, 6, 5))
    assert wrong / ROUNDS < 0.05 + 2 * math.sqrt(0.05 * 0.95 / ROUNDS)
    right = sum(equivalence_p(found, pooled.df, MARGIN) < 0.05 for found, pooled in differences(0, 6, 20))
    assert right / ROUNDS > 0.9, "twenty seeds show it"


def test_the_detectable_difference_is_found_in_80_per_cent():
    comparisons, seeds, sd = 5, 5, 0.004
    true = detectable(Pooled(sd, (6 - 1) * (seeds - 1)), seeds, comparisons)
    hits = sum(found.p < 0.05 / comparisons for found, _ in differences(true, 6, seeds, sd))
    assert hits / ROUNDS == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / ROUNDS))


def test_a_student_one_per_cent_below_its_teacher_is_called_equal_in_five_per_cent():
    """With effects of seeds that all cells of the table share, which is why their degrees of freedom are few."""
    teacher, seeds, wrong = 0.7, 5, 0
    draws = np.random.default_rng(11)
    for _ in range(ROUNDS):
        scores = 0.99 * teacher + draws.normal(0, 0.002, seeds) + draws.normal(0, 0.002, (6, seeds))
        pooled = pooled_over_cells([dict(enumerate(row)) for row in scores])
        apart = Estimate(seeds, float(scores[0].mean()) - teacher, sd=pooled.sd)
        wrong += equivalence_p(apart, pooled.df, 0.01 * teacher) < 0.05
    assert wrong / ROUNDS < 0.05 + 3 * math.sqrt(0.05 * 0.95 / ROUNDS)
