"""The inverse of a measured curve: the anchor-steps after which a score is reached, or a bound beyond the ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Bounds:
    """A positive number: known if `low` equals `high`; at most `high` if `low` is 0; at least `low` if `high` is infinite."""

    low: float
    high: float

    @property
    def known(self) -> float | None:
        """The number, or None if there is only a bound."""
        return self.low if self.low == self.high else None

    def over(self, divisor: float) -> Bounds:
        """This number divided by another."""
        return Bounds(self.low / divisor, self.high / divisor)

    def under(self, dividend: float) -> Bounds:
        """Another number divided by this one."""
        return Bounds(dividend / self.high, dividend / self.low if self.low else math.inf)


@dataclass(frozen=True)
class Curve:
    """mIoU against anchor-steps: non-decreasing, and linear in the logarithm of anchor-steps between points."""

    steps: tuple[float, ...]
    mious: tuple[float, ...]

    @classmethod
    def through(cls, points: Sequence[tuple[float, float, float]]) -> Curve:
        """The non-decreasing curve nearest to points (anchor-steps, mIoU, weight), by isotonic regression."""
        steps, mious, weights = zip(*sorted(points), strict=True)
        if any(after < before for before, after in pairwise(mious)):
            # Imported here: scipy takes time to import, and a table in the terminal does not need it.
            from scipy.optimize import isotonic_regression

            mious = tuple(map(float, isotonic_regression(mious, weights=weights).x))
        return cls(steps, mious)

    def reaches(self, miou: float) -> Bounds:
        """Anchor-steps after which the curve reaches `miou`; the fewest, where the curve is flat."""
        at = next((place for place, known in enumerate(self.mious) if known >= miou), None)
        if at is None:
            return Bounds(self.steps[-1], math.inf)
        if self.mious[at] == miou:
            return Bounds(self.steps[at], self.steps[at])
        if at == 0:
            return Bounds(0.0, self.steps[0])
        share = (miou - self.mious[at - 1]) / (self.mious[at] - self.mious[at - 1])
        steps = self.steps[at - 1] * (self.steps[at] / self.steps[at - 1]) ** share
        return Bounds(steps, steps)
