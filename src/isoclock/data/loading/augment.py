"""Random scale, crop and flip of one sample, reading only the pixels that the crop needs.

Geometry is drawn first, from a generator seeded by (seed, global index): batches do not depend on the number of loader
processes, nor on where a run was resumed. Resizing samples the same grid as `cv2.resize` of the whole image (pixel
centres aligned), so the crop equals scale-then-crop up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from isoclock.data.loading.bilinear import blend, near_and_share
from isoclock.data.loading.pixels import Pixels, SplitPixels
from isoclock.labels import IGNORE

GEOMETRY, COLOUR, ORDER, UNLABELLED_ORDER = range(4)
"""Purposes of random draws. Draws for different purposes are independent although they share one seed."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """A crop of a scaled image: its top left corner in scaled pixels (negative: padding before it), then a flip."""

    scaled: Size
    top: int
    left: int
    flip: bool


def generator(seed: int, purpose: int, number: int) -> np.random.Generator:
    """The generator of one draw, determined by seed, purpose and number."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, purpose, number))))


def draw_geometry(
    random: np.random.Generator, size: Size, crop: Size, scale: tuple[float, float], flip: float
) -> Geometry:
    """Draw a scale uniform in `scale`, a crop uniform inside the scaled image, and a flip with probability `flip`.

    An image smaller than the crop gets a random position in it.
    """
    factor = random.uniform(*scale)
    height, width = (max(1, round(side * factor)) for side in size)
    spare = height - crop[0], width - crop[1]
    top, left = (int(random.integers(min(0, room), max(0, room) + 1)) for room in spare)
    return Geometry((height, width), top, left, bool(random.random() < flip))


def crop_sample(
    split: SplitPixels,
    i: int,
    geometry: Geometry,
    crop: Size,
    fill: tuple[int, int, int],
    out: tuple[Pixels, Pixels] | None = None,
) -> tuple[Pixels, Pixels]:
    """Image (h, w, 3), bilinear, and label (h, w), nearest, of crop size; padded with `fill` and 255.

    They are written to `out` if it is given.
    """
    rows = _Axis.cut(split.sizes[i][0], geometry.scaled[0], geometry.top, crop[0])
    columns = _Axis.cut(split.sizes[i][1], geometry.scaled[1], geometry.left, crop[1])
    if geometry.flip:
        columns = columns.mirrored(crop[1])
    source, source_label = split.window(
        i, rows.first, columns.first, rows.last - rows.first, columns.last - columns.first
    )
    image, label = out if out is not None else (np.empty((*crop, 3), np.uint8), np.empty(crop, np.uint8))
    if (rows.length, columns.length) != crop:
        image[:], label[:] = fill, IGNORE
    flat, flat_source = image.reshape(crop[0], -1), source.reshape(len(source), -1)
    blend(flat_source, rows.near, rows.share, columns.near, columns.share, flat, rows.before, columns.before)
    # Selecting whole rows is faster than selecting pixels, so columns are transposed to rows first.
    picked = cv2.transpose(np.take(cv2.transpose(source_label), columns.nearest, axis=0))
    inside = label[rows.before : rows.before + rows.length, columns.before : columns.before + columns.length]
    np.take(picked, rows.nearest, axis=0, out=inside, mode="clip")  # other modes write to a copy first
    return image, label


@dataclass(frozen=True)
class _Axis:
    """One axis of a crop: `length` target pixels after `before` pixels of padding, from source pixels [first, last).

    Each target pixel is interpolated between source pixel `near` and the next one, whose weight is `share`; `nearest` is
    the nearest source pixel. Both count from `first`.
    """

    before: int
    length: int
    first: int
    last: int
    near: NDArray[np.intp]
    share: NDArray[np.int16]
    nearest: NDArray[np.int64]

    @classmethod
    def cut(cls, source: int, scaled: int, begin: int, wanted: int) -> _Axis:
        low, high = max(0, begin), min(scaled, begin + wanted)
        at = (np.arange(low, high) + 0.5) * (source / scaled) - 0.5
        # Bilinear interpolation needs one pixel on either side.
        first = max(0, int(np.floor(at[0])))
        last = max(first + 1, min(source, int(np.floor(at[-1])) + 2))
        # In integers, because a tie between two labels must not depend on rounding.
        nearest = (2 * np.arange(low, high) + 1) * source // (2 * scaled) - first
        return cls(low - begin, high - low, first, last, *near_and_share(at - first, last - first), nearest)

    def mirrored(self, wanted: int) -> _Axis:
        """The same pixels in reverse order, in a crop of `wanted` pixels: a flip at no cost."""
        backwards = {name: getattr(self, name)[::-1].copy() for name in ("near", "share", "nearest")}
        return replace(self, before=wanted - self.before - self.length, **backwards)
