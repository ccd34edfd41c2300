"""A mean with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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
    sd = float(data.std(ddof=1))
    half = t_quantile((1 + confidence) / 2, data.size - 1) * sd / math.sqrt(data.size)
    return Estimate(int(data.size), mean, mean - half, mean + half, sd)


def t_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t distribution."""
    from scipy.stats import t

    return float(t.ppf(probability, df))
