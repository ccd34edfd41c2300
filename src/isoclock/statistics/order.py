"""The order of methods: probability of improvement, and ranks with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from isoclock.statistics.estimate import Estimate
from isoclock.statistics.pooled import LEAST_SEEDS, Pooled

WORST = -math.inf
"""The score of a diverged run, where only the order counts."""


@dataclass(frozen=True)
class Rank:
    """The place of a method among `of`, 1 being the best, and the places that 95 % confidence leaves."""

    place: int
    low: int
    high: int
    of: int


def probability_of_improvement(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Estimate:
    """P(a run of `first` scores above a run of `second`), ties counted half, with Newcombe's interval (2006, method 5).

    It is the Mann-Whitney statistic over all pairs of runs. A diverged run is `WORST`. One run on a side has no interval.
    """
    pairs = len(first) * len(second)
    if not pairs:
        return Estimate(0, None)
    share = math.fsum((a > b) + 0.5 * (a == b) for a in first for b in second) / pairs
    n = min(len(first), len(second))
    if n < 2:
        return Estimate(n, share)
    from scipy.optimize import brentq
    from scipy.stats import norm

    z, extra = float(norm.ppf((1 + confidence) / 2)), (len(first) + len(second)) / 2 - 1

    def excess(true: float) -> float:
        """How much further `true` is from the share than its own standard error allows."""
        inner = 1 + extra * ((1 - true) / (2 - true) + true / (1 + true))
        return abs(true - share) - z * math.sqrt(true * (1 - true) * inner / pairs)

    low = (
        0.0 if share == 0 else float(brentq(excess, 0.0, share)) if share < 1 else float(brentq(excess, 1e-9, 1 - 1e-9))
    )
    high = (
        1.0 if share == 1 else float(brentq(excess, share, 1.0)) if share > 0 else float(brentq(excess, 1e-9, 1 - 1e-9))
    )
    return Estimate(n, share, low, high)


def ranks(
    scores: Sequence[Sequence[float]], diverged: Sequence[int], pooled: Pooled, level: float = 0.05
) -> list[Rank | None]:
    """The rank of each method from the scores of its seeds, with simultaneous intervals (Tukey and Kramer).

    A method is surely above another if their difference exceeds the honest one of all pairs. Diverged runs count as the worst:
    a method with more of them ranks below, and the last places stay possible for it. None for a method without any run.
    """
    means = [math.fsum(one) / len(one) if one else WORST for one in scores]
    present = [bool(one) or lost > 0 for one, lost in zip(scores, diverged, strict=True)]
    members = [number for number, here in enumerate(present) if here]
    shares = [lost / (len(one) + lost) if one or lost else 0.0 for one, lost in zip(scores, diverged, strict=True)]
    order = sorted(members, key=lambda number: (shares[number], -means[number]))
    quantile = _quantile(len(members), pooled.df, level) if pooled.sd and len(members) > 1 else None

    def surely_above(one: int, other: int) -> bool:
        if (
            quantile is None
            or pooled.sd is None
            or min(len(scores[one]), len(scores[other])) < LEAST_SEEDS
            or diverged[one]
        ):
            return False
        error = pooled.sd * math.sqrt((1 / len(scores[one]) + 1 / len(scores[other])) / 2)
        return means[one] - means[other] > quantile * error

    found: list[Rank | None] = [None] * len(scores)
    for place, number in enumerate(order, 1):
        low = 1 + sum(surely_above(other, number) for other in members)
        high = len(members) - sum(surely_above(number, other) for other in members)
        found[number] = Rank(place, min(low, place), max(high, place), len(members))
    return found


@cache
def _quantile(groups: int, df: float, level: float) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - level, groups, df))
