"""Spread: intervals over seeds, paired tests over seeds, and a paired bootstrap over images. numpy and scipy only.

One seed has a value and no interval: every `low`, `high` and `p` here is None where n does not carry one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoclock.scoring.confusion import iou_of_counts

_RESAMPLES_AT_ONCE = 512


@dataclass(frozen=True)
class Estimate:
    """A mean of n values with its interval. `low`, `high` and `sd` are None for n = 1; `mean` too for n = 0."""

    n: int
    mean: float | None
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    p: float | None = None
    """Two-sided p-value of "the mean is 0"; only differences carry it."""

    @property
    def half_width(self) -> float | None:
        """Half of the interval's width; None without an interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean and Student's t interval of independent values (one a seed).

    Raises ValueError for a value that is not finite: a diverged run is a hole, not a number.
    """
    data = np.asarray(values, dtype=np.float64)
    if not np.isfinite(data).all():
        raise ValueError("a value is not finite; leave runs without a score out and say how many")
    if data.size == 0:
        return Estimate(0, None)
    mean = float(data.mean())
    if data.size == 1:
        return Estimate(1, mean)
    # Imported here: scipy.stats takes most of a second, which `--help` and a table of single seeds need not pay.
    from scipy.stats import t

    sd = float(data.std(ddof=1))
    half = float(t.ppf((1 + confidence) / 2, data.size - 1)) * sd / math.sqrt(data.size)
    return Estimate(int(data.size), mean, mean - half, mean + half, sd)


def paired_difference(
    first: Mapping[Hashable, float], second: Mapping[Hashable, float], confidence: float = 0.95
) -> Estimate:
    """Mean of `first - second` over the seeds both have, its t interval and the p-value of the paired t-test.

    Seeds of one side only are left out; n says how many remained. With one seed, or without any spread in the
    differences, there is no p.
    """
    shared = sorted(first.keys() & second.keys(), key=repr)
    spread = t_interval([first[seed] - second[seed] for seed in shared], confidence)
    if spread.mean is None or not spread.sd:
        return spread
    from scipy.stats import t

    statistic = spread.mean / (spread.sd / math.sqrt(spread.n))
    p = float(2 * t.sf(abs(statistic), spread.n - 1))
    return Estimate(spread.n, spread.mean, spread.low, spread.high, spread.sd, p)


def bootstrap_miou_difference(
    first: NDArray[Any],
    second: NDArray[Any],
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Paired bootstrap over images of mIoU(first) - mIoU(second), from two stacks (n, K, K) of per-image confusions.

    The same images are drawn for both sides (Efron & Tibshirani, percentile interval); image i must be the same in
    both. It speaks of the choice of images for *these* weights, not of the spread over seeds. `mean` is the observed
    difference, n the number of images, `sd` the bootstrap's standard error, and p twice the smaller tail beyond 0, at
    least 1 / resamples. Raises ValueError for stacks that are empty or of different shape.
    """
    if first.shape != second.shape or first.ndim != 3 or not len(first):
        raise ValueError(f"per-image confusions of shapes {first.shape} and {second.shape} cannot be paired")
    images = len(first)
    counts = [_hits_and_union(stack) for stack in (first, second)]
    observed = _difference(counts, np.ones((1, images)))[0]
    if not math.isfinite(observed):
        raise ValueError("no pixel is scored on one of the two sides")
    if images == 1:
        return Estimate(1, float(observed))
    draws = np.random.default_rng(seed)
    parts = []
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, resamples - start)
        # How often each image is drawn is all a sum over images needs: resampling becomes one matrix product.
        weights = draws.multinomial(images, np.full(images, 1 / images), size=size).astype(np.float64)
        parts.append(_difference(counts, weights))
    differences = np.concatenate(parts)
    differences = differences[np.isfinite(differences)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    beyond = min(float((differences <= 0).mean()), float((differences >= 0).mean()))
    p = min(1.0, max(2 * beyond, 1 / resamples))
    return Estimate(images, float(observed), float(low), float(high), float(differences.std(ddof=1)), p)


def _hits_and_union(stack: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True positives and union of each image and class: (n, K) each. Exact in float64 up to 2**53 pixels."""
    hits = np.diagonal(stack, axis1=1, axis2=2).astype(np.float64)
    return hits, stack.sum(axis=2, dtype=np.float64) + stack.sum(axis=1, dtype=np.float64) - hits


def _difference(
    counts: list[tuple[NDArray[np.float64], NDArray[np.float64]]], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """mIoU(first) - mIoU(second) of each resample; `weights` (B, n) says how often each image was drawn."""
    means = []
    for hits, union in counts:
        scored = iou_of_counts(weights @ hits, weights @ union)
        present = np.isfinite(scored)
        number = present.sum(axis=1)
        total = np.where(present, scored, 0).sum(axis=1)
        means.append(np.divide(total, number, out=np.full(len(weights), np.nan), where=number > 0))
    difference: NDArray[np.float64] = means[0] - means[1]
    return difference
