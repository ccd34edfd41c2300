import subprocess
import sys

import numpy as np
import pytest
from scipy import stats as scipy_stats

from isoclock.scoring.metrics.miou import of as mean_iou
from isoclock.scoring.stats import bootstrap_miou_difference, paired_difference, t_interval


def stacks(images=30, classes=4, quality=(0.8, 0.6)):
    draws = np.random.default_rng(5)
    built = []
    for right in quality:
        total = draws.multinomial(200, np.full(classes**2, 1 / classes**2), size=images).reshape(
            images, classes, classes
        )
        total[:, range(classes), range(classes)] += draws.binomial(400, right, (images, classes))
        built.append(total.astype(np.uint32))
    return built


def test_t_interval_is_scipys():
    values = [0.41, 0.44, 0.40, 0.43]
    spread = t_interval(values)
    low, high = scipy_stats.t.interval(0.95, 3, loc=np.mean(values), scale=scipy_stats.sem(values))
    assert (spread.n, spread.mean, spread.low, spread.high) == pytest.approx((4, 0.42, low, high))
    assert spread.half_width == pytest.approx((high - low) / 2)


def test_one_seed_has_a_mean_and_no_interval():
    spread = t_interval([0.4])
    assert (spread.n, spread.mean, spread.low, spread.high, spread.half_width) == (1, 0.4, None, None, None)
    assert (t_interval([]).n, t_interval([]).mean) == (0, None)


def test_a_hole_is_no_number():
    with pytest.raises(ValueError, match="not finite"):
        t_interval([0.4, float("nan")])


def test_paired_difference_is_scipys_paired_test_over_shared_seeds():
    first = {0: 0.44, 1: 0.47, 2: 0.45, 9: 0.99}
    second = {0: 0.43, 1: 0.44, 2: 0.44, 8: 0.01}
    found = paired_difference(first, second)
    expected = scipy_stats.ttest_rel([0.44, 0.47, 0.45], [0.43, 0.44, 0.44])
    interval = expected.confidence_interval(0.95)
    assert (found.n, found.mean, found.p) == pytest.approx((3, 0.05 / 3, expected.pvalue))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_paired_difference_without_spread_has_no_p():
    assert paired_difference({0: 0.5}, {0: 0.25}).p is None
    assert paired_difference({0: 0.5, 1: 0.5}, {0: 0.25, 1: 0.25}).p is None
    assert paired_difference({0: 0.5}, {1: 0.25}).n == 0


def test_bootstrap_agrees_with_resampling_by_hand():
    first, second = stacks()
    found = bootstrap_miou_difference(first, second, resamples=20_000)
    assert found.mean == pytest.approx(mean_iou(first.sum(0)) - mean_iou(second.sum(0)))
    draws = np.random.default_rng(11)
    by_hand = []
    for _ in range(8000):
        picked = draws.integers(0, len(first), len(first))
        by_hand.append(mean_iou(first[picked].sum(0)) - mean_iou(second[picked].sum(0)))
    assert found.sd == pytest.approx(np.std(by_hand), rel=0.05)
    assert (found.low, found.high) == pytest.approx(np.quantile(by_hand, [0.025, 0.975]), abs=0.12 * np.std(by_hand))
    assert found.p == pytest.approx(1 / 20_000)


def test_bootstrap_is_paired_and_repeatable():
    first, _ = stacks()
    same = bootstrap_miou_difference(first, first, resamples=300)
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert bootstrap_miou_difference(*stacks(), resamples=300) == bootstrap_miou_difference(*stacks(), resamples=300)


def test_bootstrap_survives_a_class_that_most_resamples_miss():
    first, second = stacks(images=6)
    for stack in (first, second):
        stack[1:, 3, :] = 0
        stack[1:, :, 3] = 0
    found = bootstrap_miou_difference(first, second, resamples=200)
    assert np.isfinite([found.low, found.high, found.p]).all()


def test_bootstrap_of_one_image_has_no_interval_and_unequal_stacks_are_refused():
    first, second = stacks(images=1)
    assert bootstrap_miou_difference(first, second).low is None
    with pytest.raises(ValueError, match="cannot be paired"):
        bootstrap_miou_difference(*stacks(images=2)[:1], stacks(images=3)[0])


def test_statistics_and_confusion_need_no_torch():
    code = "import sys, isoclock.scoring.stats, isoclock.scoring.confusion; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
