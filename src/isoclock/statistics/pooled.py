"""One standard deviation for all cells of a table, and differences between methods that use it.

With three seeds a cell's own standard deviation has two degrees of freedom, and is small by accident in some of many cells.
Pooling assumes that cells have equal variance; the table says that it did, and how many degrees of freedom it has.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isoclock.statistics.estimate import Estimate, t_quantile

Scores = Mapping[Hashable, float]
"""Score by seed."""

LEAST_SEEDS = 3
"""Below it no p-value is given."""

_ROUNDING = 1e-9
"""Scores are of 0..1: a smaller deviation is that of rounding, so there is none."""


@dataclass(frozen=True)
class Pooled:
    """A standard deviation over seeds and its degrees of freedom; `sd` is None for `df` 0."""

    sd: float | None
    df: float


def pooled_over_cells(cells: Sequence[Scores]) -> Pooled:
    """The standard deviation of the seeds within cells, for intervals of single means. `cells` have their scores by seed.

    Cells share the effects of seeds, so together they tell less than as many independent ones: the degrees of freedom are
    Satterthwaite's, between those of one cell and those of all.
    """
    within, df = 0.0, 0
    for scores in cells:
        data = np.asarray(list(scores.values()), dtype=np.float64)
        if data.size > 1:
            within += float(((data - data.mean()) ** 2).sum())
            df += data.size - 1
    left, df_left = _residual(cells)
    seeds, df_seeds = max(0.0, within - left), df - df_left
    spread = sum((part / df) ** 2 / own for part, own in ((seeds, df_seeds), (left, df_left)) if own > 0)
    return _pooled(within, df, (within / df) ** 2 / spread if spread else float(df))


def pooled_over_pairs(budgets: Iterable[Sequence[Scores]]) -> Pooled:
    """The standard deviation that is left after the effects of method and seed, for differences between methods.

    A seed gives every method the same initial student and the same samples, so its effect cancels in a difference. `budgets`
    are the methods of each budget, with their scores by seed; a missing score costs a degree of freedom.
    """
    found = [_residual(methods) for methods in budgets]
    df = sum(df for _, df in found)
    return _pooled(math.fsum(squares for squares, _ in found), df, float(df))


def _residual(methods: Sequence[Scores]) -> tuple[float, int]:
    """The sum of squares that is left after the effects of method and seed, and its degrees of freedom."""
    found = [(method, seed, score) for method, scores in enumerate(methods) for seed, score in scores.items()]
    if not found:
        return 0.0, 0
    seeds = {seed: number for number, seed in enumerate(dict.fromkeys(seed for _, seed, _ in found))}
    design = np.zeros((len(found), len(methods) + len(seeds)))
    for row, (method, seed, _) in enumerate(found):
        design[row, method] = design[row, len(methods) + seeds[seed]] = 1.0
    target = np.asarray([score for _, _, score in found])
    solution, _, rank, _ = np.linalg.lstsq(design, target, rcond=None)
    return float(((target - design @ solution) ** 2).sum()), len(found) - int(rank)


def _pooled(squares: float, df: int, effective: float) -> Pooled:
    sd = math.sqrt(squares / df) if df else None
    return Pooled(0.0 if sd is not None and sd < _ROUNDING else sd, effective if df else 0)


def pooled_mean(own: Estimate, pooled: Pooled, confidence: float = 0.95) -> Estimate:
    """The same mean with an interval from the pooled standard deviation. One seed still has none."""
    if own.n < 2 or own.mean is None or pooled.sd is None:
        return own
    half = t_quantile((1 + confidence) / 2, pooled.df) * pooled.sd / math.sqrt(own.n)
    return replace(own, low=own.mean - half, high=own.mean + half)


def paired_difference(first: Scores, second: Scores, pooled: Pooled, confidence: float = 0.95) -> Estimate:
    """Mean of `first - second` over the seeds both have, with its t interval and p-value from the pooled deviation.

    `sd` is the pooled standard deviation of a difference. One seed has no interval, and fewer than `LEAST_SEEDS` no p.
    """
    shared = sorted(first.keys() & second.keys(), key=repr)
    if not shared:
        return Estimate(0, None)
    n, mean = len(shared), math.fsum(first[seed] - second[seed] for seed in shared) / len(shared)
    if n < 2 or not pooled.sd:
        return Estimate(n, mean)
    from scipy.stats import t

    sd = pooled.sd * math.sqrt(2)
    error = sd / math.sqrt(n)
    half = t_quantile((1 + confidence) / 2, pooled.df) * error
    p = float(2 * t.sf(abs(mean) / error, pooled.df)) if n >= LEAST_SEEDS else None
    return Estimate(n, mean, mean - half, mean + half, sd, p)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for their number by Holm's method. Those that are None are no tests, and stay None."""
    known = [p for p in ps if p is not None]
    if not known:
        return list(ps)
    from statsmodels.stats.multitest import multipletests

    adjusted = iter(multipletests(known, method="holm")[1].tolist())
    return [None if p is None else next(adjusted) for p in ps]
