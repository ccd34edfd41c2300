"""Masks and shades within the box of a prop, in thousandths of the box."""

from __future__ import annotations

from collections.abc import Callable

from isoclock.data.streets.canvas import Dice, Ints, Mask, Patch

Prop = Callable[[Patch, Dice], None]
"""A function that paints a prop into its box."""


def disc(patch: Patch, u: int, v: int, ru: int, rv: int) -> Mask:
    """An ellipse around (u, v) with radii (ru, rv)."""
    return ((patch.u - u) * rv) ** 2 + ((patch.v - v) * ru) ** 2 < (ru * rv) ** 2


def box(patch: Patch, left: int, right: int, top: int, bottom: int) -> Mask:
    """A rectangle; right and bottom are excluded."""
    return (patch.u >= left) & (patch.u < right) & (patch.v >= top) & (patch.v < bottom)


def stroke(patch: Patch, u0: int, v0: int, u1: int, v1: int, wide: int) -> Mask:
    """A line from (u0, v0) to (u1, v1), `wide` to either side horizontally."""
    span = max(1, abs(v1 - v0))
    low, high = min(v0, v1), max(v0, v1)
    return (
        (abs(patch.u - u0 - (patch.v - v0) * (u1 - u0) // (span if v1 >= v0 else -span)) < wide)
        & (patch.v >= low)
        & (patch.v < high)
    )


def rounded(patch: Patch) -> Ints:
    """Shade of a solid body under the sky: lighter above, darker below."""
    return 1_150 - patch.v * 3 // 10
