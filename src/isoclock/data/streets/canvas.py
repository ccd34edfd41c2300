"""The canvas of a street scene (colour, label and depth), its camera, and integer random numbers.

Everything is integer arithmetic on the raw output of PCG64, so that the same seed gives the same bytes on every machine
and with every NumPy version: NumPy's compatibility policy freezes bit generators, but not the distributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

FAR_CM = 20_000
"""Depth of the sky."""

Rgb = tuple[int, int, int]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
T = TypeVar("T")


class Dice:
    """Uniform integers from PCG64, seeded by a tuple of integers."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high], both ends included."""
        return low + (int(self._bits.random_raw()) >> 32) * (high - low + 1) // (1 << 32)

    def chance(self, percent: int) -> bool:
        """True with a probability of `percent` / 100."""
        return self.between(0, 99) < percent

    def pick(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[self.between(0, len(items) - 1)]

    def noise(self, *shape: int) -> Ints:
        """Independent integers in [-128, 127] of the given shape."""
        count = int(np.prod(shape))
        raw = np.asarray(self._bits.random_raw((count + 7) // 8)).astype("<u8")
        return raw.view(np.uint8)[:count].reshape(shape).astype(np.int64) - 128

    def smooth_noise(self, height: int, width: int, cell: int) -> Ints:
        """Bilinearly interpolated noise in [-128, 127] on a lattice of `cell` pixels, shape (height, width)."""
        lattice = self.noise(height // cell + 2, width // cell + 2)
        y, x = np.arange(height), np.arange(width)
        wy, wx = (y % cell)[:, None], (x % cell)[None, :]
        rows, below = lattice[y // cell], lattice[y // cell + 1]
        tall = rows * (cell - wy) + below * wy
        wide = tall[:, x // cell] * (cell - wx) + tall[:, x // cell + 1] * wx
        return np.floor_divide(wide, cell * cell)


@dataclass(frozen=True)
class Camera:
    """A pinhole at `height_cm` over flat ground. Lengths in centimetres, the image in pixels."""

    centre: int
    horizon: int
    focal: int
    height_cm: int

    def pixels(self, length_cm: int, z_cm: int) -> int:
        """Length in pixels of `length_cm` at depth `z_cm`; at least one pixel."""
        return max(1, length_cm * self.focal // z_cm)

    def at(self, x_cm: int, y_cm: int, z_cm: int) -> tuple[int, int]:
        """Column and row of a point; `y_cm` is its height over the ground."""
        return self.centre + x_cm * self.focal // z_cm, self.horizon + (self.height_cm - y_cm) * self.focal // z_cm


class Canvas:
    """Colour (H, W, 3), raw label (H, W) and depth in cm (H, W) of a scene painted from far to near."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.rgb = np.zeros((height, width, 3), np.int64)
        self.label = np.zeros((height, width), np.uint8)
        self.depth = np.full((height, width), FAR_CM, np.int64)

    def patch(self, left: int, right: int, top: int, bottom: int, z_cm: int) -> Patch | None:
        """The part of a box (right and bottom excluded) that is on the canvas, or None if no part is."""
        x0, x1 = max(left, 0), min(right, self.width)
        y0, y1 = max(top, 0), min(bottom, self.height)
        if x0 >= x1 or y0 >= y1:
            return None
        u = ((np.arange(x0, x1) - left) * 2 + 1) * 500 // (right - left)
        v = ((np.arange(y0, y1) - top) * 2 + 1) * 500 // (bottom - top)
        return Patch(self, slice(y0, y1), slice(x0, x1), u[None, :], v[:, None], z_cm)


@dataclass(frozen=True)
class Patch:
    """A box on a canvas with coordinates `u` (left to right) and `v` (top to bottom) in thousandths of the box."""

    canvas: Canvas
    rows: slice
    columns: slice
    u: Ints
    v: Ints
    z_cm: int

    def paint(self, mask: Mask, rgb: Rgb, label: int | None, shade: Ints | int = 1000) -> None:
        """Paint where `mask` is true, with brightness `shade` thousandths. Label None keeps labels and depth."""
        where = np.broadcast_to(mask, (self.rows.stop - self.rows.start, self.columns.stop - self.columns.start))
        light = np.broadcast_to(np.asarray(shade, np.int64), where.shape)[where]
        self.canvas.rgb[self.rows, self.columns][where] = light[:, None] * np.array(rgb, np.int64) // 1000
        if label is not None:
            self.canvas.label[self.rows, self.columns][where] = label
            self.canvas.depth[self.rows, self.columns][where] = self.z_cm

    def darken(self, mask: Mask, thousandths: int) -> None:
        """Keep `thousandths` of the brightness where `mask` is true: a shadow."""
        where = np.broadcast_to(mask, (self.rows.stop - self.rows.start, self.columns.stop - self.columns.start))
        view = self.canvas.rgb[self.rows, self.columns]
        view[where] = view[where] * thousandths // 1000


def hashed(a: Ints, b: Ints, salt: int) -> Ints:
    """A texture fixed in world coordinates: a hash of two coordinates, in [-128, 127]."""
    mixed = (a * 73_856_093 + b * 19_349_663 + salt * 83_492_791) & 0xFFFF_FFFF
    mixed = ((mixed ^ (mixed >> 15)) * 668_265_263) & 0xFFFF_FFFF
    return ((mixed >> 13) & 255) - 128
