import subprocess
import sys

import numpy as np
import pytest
from scipy import stats as scipy_stats

from isoclock.scoring.metrics.miou import of as mean_iou
from isoclock.statistics.bootstrap import bootstrap_miou_difference


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


def test_bootstrap_agrees_with_resampling_by_hand():
    first, second = stacks()
    found = bootstrap_miou_difference([(first, second)], resamples=20_000)
    assert found.mean == pytest.approx(mean_iou(first.sum(0)) - mean_iou(second.sum(0)))
    draws = np.random.default_rng(11)
    by_hand = []
    for _ in range(8000):
        picked = draws.integers(0, len(first), len(first))
        by_hand.append(mean_iou(first[picked].sum(0)) - mean_iou(second[picked].sum(0)))
    assert found.sd == pytest.approx(np.std(by_hand), rel=0.05)
    tail = scipy_stats.norm.cdf(scipy_stats.t.ppf(0.025, 29) * (30 / 29) ** 0.5)  # Hesterberg's, of 30 images
    assert tail == pytest.approx(0.01875, abs=1e-5)
    assert (found.low, found.high) == pytest.approx(np.quantile(by_hand, [tail, 1 - tail]), abs=0.15 * np.std(by_hand))
    assert found.p == pytest.approx(1 / 20_000)


def test_bootstrap_is_paired_and_repeatable():
    first, _ = stacks()
    same = bootstrap_miou_difference([(first, first)], resamples=300)
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
    once, again = (bootstrap_miou_difference([tuple(stacks())], resamples=300) for _ in range(2))
    assert once == again


def test_bootstrap_survives_a_class_that_most_resamples_miss():
    first, second = stacks(images=6)
    for stack in (first, second):
        stack[1:, 3, :] = 0
        stack[1:, :, 3] = 0
    found = bootstrap_miou_difference([(first, second)], resamples=200)
    assert np.isfinite([found.low, found.high, found.p]).all()


def test_bootstrap_of_one_image_has_no_interval_and_unequal_stacks_are_refused():
    first, second = stacks(images=1)
    assert bootstrap_miou_difference([(first, second)]).low is None
    with pytest.raises(ValueError, match="cannot be paired"):
        bootstrap_miou_difference([(stacks(images=2)[0], stacks(images=3)[0])])


def test_p_is_not_below_what_few_resamples_allow():
    """Two images have 3 different resamples, three seeds have 10, whatever is drawn."""
    first, second = stacks(images=2, quality=(0.9, 0.1))
    assert bootstrap_miou_difference([(first, second)]).p == pytest.approx(1 / 3)
    assert bootstrap_miou_difference([tuple(stacks(quality=(0.9, 0.1)))] * 3).p == pytest.approx(1 / 10)


@pytest.mark.parametrize(("seeds", "coverage"), [(3, 0.75), (5, 0.90)])
def test_bootstrap_covers_the_mean_over_seeds_and_images(seeds, coverage):
    """Forty images: the interval of five seeds contains the true difference about as often as it says; three seeds are too few
    for any resampling. p is below 0.05 without a difference somewhat more often than it says (PROTOCOL.md, section 9).
    """
    draws, hits, false, rounds = np.random.default_rng(3), 0, 0, 300
    for _ in range(rounds):
        image = draws.normal(0, 0.03, 40)
        first = [binary(0.80 + draws.normal(0, 0.02) + image, draws) for _ in range(2 * seeds)]
        second = [binary(0.75 + draws.normal(0, 0.02) + image, draws) for _ in range(seeds)]
        found = bootstrap_miou_difference(list(zip(first[:seeds], second, strict=True)), resamples=400)
        hits += found.low <= 0.0251 <= found.high  # half of 0.05, as the second class is nearly all right
        equal = bootstrap_miou_difference(list(zip(first[:seeds], first[seeds:], strict=True)), resamples=400)
        false += equal.p < 0.05
    assert hits / rounds > coverage
    assert false / rounds < 0.12


def binary(accuracy, draws, pixels=4000):
    """Confusions of images with one class of 4,000 pixels, of which a share is right; the others are of a second class."""
    right = draws.binomial(pixels, np.clip(accuracy, 0, 1))
    stack = np.zeros((len(right), 2, 2), dtype=np.uint32)
    stack[:, 0, 0], stack[:, 0, 1] = right, pixels - right
    stack[:, 1, 1] = 10**6
    return stack


def test_statistics_and_confusion_need_no_torch():
    code = "import sys, isoclock.statistics.bootstrap, isoclock.scoring.confusion; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
