"""Equivalence within a margin, and the smallest difference that a number of seeds can detect."""

from __future__ import annotations

import math

from isoclock.statistics.estimate import Estimate, t_quantile
from isoclock.statistics.pooled import LEAST_SEEDS, Pooled


def equivalence_p(difference: Estimate, df: float, margin: float) -> float | None:
    """p-value of two one-sided t-tests (TOST) that a difference lies within `margin` on both sides of 0.

    Small: it lies within. `difference.sd` is the standard deviation of one value; None below `LEAST_SEEDS` or without spread.
    """
    if difference.n < LEAST_SEEDS or difference.mean is None or not difference.sd or df < 1:
        return None
    from scipy.stats import t

    error = difference.sd / math.sqrt(difference.n)
    return float(t.sf((margin - abs(difference.mean)) / error, df))


def detectable(pooled: Pooled, n: int, comparisons: int, level: float = 0.05, power: float = 0.8) -> float | None:
    """The true difference between two methods that a test over `n` seeds finds with probability `power`.

    The level is divided by the number of comparisons, which is what Holm's method demands of the smallest p-value. None where
    there is no test.
    """
    if n < LEAST_SEEDS or not pooled.sd or comparisons < 1:
        return None
    from scipy.optimize import brentq
    from scipy.stats import nct

    critical = t_quantile(1 - level / (2 * comparisons), pooled.df)

    def lacking(shift: float) -> float:
        return float(nct.sf(critical, pooled.df, shift)) - power

    shift = brentq(lacking, 0.0, 3 * critical + 10)
    return float(shift) * pooled.sd * math.sqrt(2 / n)
