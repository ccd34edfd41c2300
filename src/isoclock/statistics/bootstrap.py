"""A paired bootstrap of mIoU over seeds and images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoclock.scoring.confusion import iou_of_counts
from isoclock.statistics.estimate import Estimate

_RESAMPLES_AT_ONCE = 512
Stack = NDArray[Any]
"""(images, K, K): the confusion of each image."""


def bootstrap_miou_difference(
    pairs: Sequence[tuple[Stack, Stack]], *, resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Paired bootstrap of mIoU(first) - mIoU(second) over seeds and images, an expanded percentile interval.

    `pairs` has the confusions of both methods for each seed. A resample draws seeds, and images which are the same for all seeds
    and both methods; image i must be the same everywhere. With one seed only images are drawn, and the result is about these
    weights alone. `mean` is the observed difference, averaged over seeds, n the number of images, and `sd` the bootstrap's
    standard error. p is twice the smaller tail beyond 0, with the same expansion, but at least 1 over the number of resamples,
    and over the number of different ones that so few seeds or images have: 3 seeds have 10.

    Raises ValueError for stacks that are empty or of different shape.
    """
    shapes = {stack.shape for pair in pairs for stack in pair}
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 3 or not shape[0]:
        raise ValueError(f"per-image confusions of shapes {sorted(shapes)} cannot be paired")
    images, seeds = shape[0], len(pairs)
    counts = [[_hits_and_union(stack) for stack in pair] for pair in pairs]
    observed = float(np.mean([_difference(both, np.ones((1, images)))[0] for both in counts]))
    if not math.isfinite(observed):
        raise ValueError("no pixel is scored on one of the two sides")
    if images == 1:
        return Estimate(1, observed)
    draws = np.random.default_rng(seed)
    parts = []
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, resamples - start)
        # How often each image is drawn is all a sum over images needs: resampling becomes one matrix product.
        weights = draws.multinomial(images, np.full(images, 1 / images), size=size).astype(np.float64)
        by_seed = np.stack([_difference(both, weights) for both in counts], axis=1)
        drawn = draws.multinomial(seeds, np.full(seeds, 1 / seeds), size=size) / seeds
        parts.append((drawn * by_seed).sum(axis=1))
    differences = np.concatenate(parts)
    differences = differences[np.isfinite(differences)]
    units = min(images, seeds) if seeds > 1 else images
    tail = _expanded((1 - confidence) / 2, units)
    low, high = np.quantile(differences, [tail, 1 - tail])
    beyond = min(float((differences <= 0).mean()), float((differences >= 0).mean()))
    p = min(1.0, max(2 * _contracted(beyond, units), 1 / min(resamples, _different(units))))
    return Estimate(images, observed, float(low), float(high), float(differences.std(ddof=1)), p)


def _expanded(tail: float, n: int) -> float:
    """The tail of the bootstrap distribution that stands for `tail`: with few values that distribution is too narrow.

    Hesterberg (2015, The American Statistician 69:371-386), expanded percentile interval.
    """
    from scipy.stats import norm, t

    return float(norm.cdf(t.ppf(tail, n - 1) * math.sqrt(n / (n - 1))))


def _contracted(tail: float, n: int) -> float:
    """The tail that a tail of the bootstrap distribution stands for: the inverse of `_expanded`."""
    from scipy.stats import norm, t

    return float(t.cdf(norm.ppf(tail) / math.sqrt(n / (n - 1)), n - 1)) if tail > 0 else 0.0


def _different(n: int) -> int:
    """How many different resamples n values have."""
    return math.comb(2 * n - 1, n)


def _hits_and_union(stack: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True positives and union of each image and class: (n, K) each. Exact in float64 up to 2**53 pixels."""
    hits = np.diagonal(stack, axis1=1, axis2=2).astype(np.float64)
    return hits, stack.sum(axis=2, dtype=np.float64) + stack.sum(axis=1, dtype=np.float64) - hits


def _difference(
    counts: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], weights: NDArray[np.float64]
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
