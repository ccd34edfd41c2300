"""Random scale, crop and flip of one sample, by reading only the pixels that the crop needs.

Geometry is drawn first, from a generator seeded by (seed, global index): batches do not depend on the number of loader
processes, nor on where a run was resumed. Resizing samples the grid that `cv2.resize` of the whole image would sample
(pixel centres aligned), so the crop equals scale-then-crop up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from isoclock.data.packed import PackedSplit, Pixels
from isoclock.data.reader import IGNORE

GEOMETRY, COLOUR, ORDER, UNLABELLED_ORDER = range(4)
"""Streams of randomness: one seed, yet nothing drawn for one purpose repeats in another."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """A crop out of a scaled image: its top left corner in scaled pixels (negative: padding before it), then a flip."""

    scaled: Size
    top: int
    left: int
    flip: bool


def generator(seed: int, purpose: int, number: int) -> np.random.Generator:
    """The generator of one draw: a function of seed, purpose and number alone."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, purpose, number))))


def draw_geometry(
    random: np.random.Generator, size: Size, crop: Size, scale: tuple[float, float], flip: float
) -> Geometry:
    """Scale uniform in `scale`, crop uniform where the scaled image covers it, flip with probability `flip`.

    An image that is smaller than the crop lies at a random place in it.
    """
    factor = random.uniform(*scale)
    height, width = (max(1, round(side * factor)) for side in size)
    spare = height - crop[0], width - crop[1]
    top, left = (int(random.integers(min(0, room), max(0, room) + 1)) for room in spare)
    return Geometry((height, width), top, left, bool(random.random() < flip))


def crop_sample(
    split: PackedSplit, i: int, geometry: Geometry, crop: Size, fill: tuple[int, int, int]
) -> tuple[Pixels, Pixels]:
    """Image (h, w, 3) bilinear and label (h, w) nearest of crop size; `fill` and 255 where the image does not reach."""
    rows = _Axis.cut(split.sizes[i][0], geometry.scaled[0], geometry.top, crop[0])
    columns = _Axis.cut(split.sizes[i][1], geometry.scaled[1], geometry.left, crop[1])
    if geometry.flip:
        columns = columns.mirrored(crop[1])
    image, label = split.window(i, rows.first, columns.first, rows.last - rows.first, columns.last - columns.first)
    if geometry.scaled != split.sizes[i]:
        matrix = np.array([[columns.step, 0.0, columns.start], [0.0, rows.step, rows.start]])
        # With a fourth channel OpenCV takes a third of the time that it takes for three, to the same values.
        warped = cv2.warpAffine(
            cv2.cvtColor(image, cv2.COLOR_RGB2RGBA),
            matrix,
            (columns.length, rows.length),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        image = np.asarray(cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB), np.uint8)
        # Whole rows are picked faster than pixels, so the columns are made rows for it.
        label = np.asarray(cv2.transpose(cv2.transpose(label[rows.nearest])[columns.nearest]), np.uint8)
    else:
        image, label = image[: rows.length, : columns.length], label[: rows.length, : columns.length]
        if geometry.flip:
            image, label = np.asarray(cv2.flip(image, 1), np.uint8), np.asarray(cv2.flip(label, 1), np.uint8)
    if (rows.length, columns.length) != crop:
        image, label = _pad(image, label, rows.before, columns.before, crop, fill)
    return np.ascontiguousarray(image), np.ascontiguousarray(label)


@dataclass(frozen=True)
class _Axis:
    """One axis of a crop: `length` target pixels after `before` of padding, out of source pixels [first, last)."""

    before: int
    length: int
    first: int
    last: int
    step: float
    start: float
    nearest: NDArray[np.int64]

    @classmethod
    def cut(cls, source: int, scaled: int, begin: int, wanted: int) -> _Axis:
        low, high = max(0, begin), min(scaled, begin + wanted)
        step = source / scaled
        at = (low + 0.5) * step - 0.5
        # One pixel to either side is what bilinear interpolation looks at.
        first = max(0, int(np.floor(at)))
        last = min(source, int(np.floor(at + (high - low - 1) * step)) + 2)
        # In integers, because a tie between two labels must not hang on rounding.
        nearest = (2 * np.arange(low, high) + 1) * source // (2 * scaled) - first
        return cls(low - begin, high - low, first, max(last, first + 1), step, at - first, nearest)

    def mirrored(self, wanted: int) -> _Axis:
        """The same pixels from the last to the first, in a crop of `wanted` pixels: a flip that costs nothing."""
        start = self.start + (self.length - 1) * self.step
        before = wanted - self.before - self.length
        return replace(self, before=before, step=-self.step, start=start, nearest=self.nearest[::-1])


def _pad(
    image: Pixels, label: Pixels, top: int, left: int, crop: Size, fill: tuple[int, int, int]
) -> tuple[Pixels, Pixels]:
    rows, columns = slice(top, top + label.shape[0]), slice(left, left + label.shape[1])
    whole, target = np.empty((*crop, 3), np.uint8), np.full(crop, IGNORE, np.uint8)
    whole[:] = fill
    whole[rows, columns], target[rows, columns] = image, label
    return whole, target
