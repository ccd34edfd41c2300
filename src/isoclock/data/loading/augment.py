"""Random scale, crop and flip of one sample, reading only the pixels that the crop needs.

Geometry is drawn first, from a generator seeded by (seed, global index): batches do not depend on the number of loader
processes, nor on where a run was resumed. Resizing samples the same grid as `cv2.resize` of the whole image (pixel
centres aligned), so the crop equals scale-then-crop up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from isoclock.data.loading.bilinear import blend, near_and_share
from isoclock.data.loading.pixels import Pixels, SplitPixels
from isoclock.labels import IGNORE

GEOMETRY, COLOUR, ORDER, UNLABELLED_ORDER = range(4)
"""Purposes of random draws. Draws for different purposes are independent although they share one seed."""

TRIES = 10
"""How often a crop that one class dominates is drawn again; the last one is kept (as in mmsegmentation)."""

Size = tuple[int, int]


@dataclass(frozen=True)
class CropRules:
    """How a crop is drawn, apart from scale and flip; keys of a recipe. The defaults leave every draw as it is without them.

    `short_side` and `long_side_at_most` resize the image first, keeping its proportions. `scale_step` allows only scales that
    are a multiple of it above the smallest. A crop is drawn again if its most frequent class has `cat_max_ratio` of its labelled
    pixels or more, or all of them. `padding`: an image smaller than the crop lies anywhere in it, or at its top left.
    """

    scale_step: float | None = None
    short_side: int | None = None
    long_side_at_most: int | None = None
    cat_max_ratio: float = 1.0
    padding: Literal["anywhere", "end"] = "anywhere"

    def resized_by(self, size: Size) -> float:
        """The factor that brings an image of `size` to `short_side`; 1 without it."""
        if self.short_side is None:
            return 1.0
        factor = self.short_side / min(size)
        return factor if self.long_side_at_most is None else min(factor, self.long_side_at_most / max(size))


PLAIN = CropRules()


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
    random: np.random.Generator,
    size: Size,
    crop: Size,
    scale: tuple[float, float],
    flip: float,
    rules: CropRules = PLAIN,
) -> Geometry:
    """Draw a scale uniform in `scale`, a crop uniform inside the scaled image, and a flip with probability `flip`.

    An image smaller than the crop gets a random position in it, or the one that `rules` say.
    """
    if rules.scale_step is None:
        factor = random.uniform(*scale)
    else:
        steps = round((scale[1] - scale[0]) / rules.scale_step)
        factor = scale[0] + int(random.integers(steps + 1)) * rules.scale_step
    factor *= rules.resized_by(size)
    scaled = max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
    top, left = _draw_corner(random, scaled, crop, rules)
    return Geometry(scaled, top, left, bool(random.random() < flip))


def _draw_corner(random: np.random.Generator, scaled: Size, crop: Size, rules: CropRules) -> tuple[int, int]:
    spare = scaled[0] - crop[0], scaled[1] - crop[1]
    top, left = (int(random.integers(min(0, room), max(0, room) + 1)) for room in spare)
    return (max(0, top), max(0, left)) if rules.padding == "end" else (top, left)


def draw_sample(
    random: np.random.Generator,
    split: SplitPixels,
    i: int,
    crop: Size,
    scale: tuple[float, float],
    flip: float,
    fill: tuple[int, int, int],
    out: tuple[Pixels, Pixels],
    rules: CropRules = PLAIN,
) -> tuple[slice, slice]:
    """Write a random crop of sample `i` to `out`, image and label. Returns the rows and columns that are not padding.

    Draws that `cat_max_ratio` adds come after all others. They are left out for images without labels, and where the scaled
    image fits into the crop, which would show the same pixels again.
    """
    geometry = draw_geometry(random, split.sizes[i], crop, scale, flip, rules)
    movable = geometry.scaled[0] > crop[0] or geometry.scaled[1] > crop[1]
    tries = TRIES if rules.cat_max_ratio < 1 and movable and split.labelled[i] else 0
    window = _Window.of(split.sizes[i], geometry, crop)
    window.write_label(split, i, out[1])
    for _ in range(tries):
        if not _is_dominated(out[1], rules.cat_max_ratio):
            break
        top, left = _draw_corner(random, geometry.scaled, crop, rules)
        geometry = replace(geometry, top=top, left=left)
        window = _Window.of(split.sizes[i], geometry, crop)
        window.write_label(split, i, out[1])
    window.write_image(split, i, fill, out[0])
    return window.inside


def _is_dominated(label: Pixels, ratio: float) -> bool:
    """Whether one class has `ratio` of the labelled pixels or more, or no two classes occur."""
    counts = cv2.calcHist([label], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    counts[IGNORE] = 0
    return bool(np.count_nonzero(counts) < 2 or counts.max() >= ratio * counts.sum())


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
    image, label = out if out is not None else (np.empty((*crop, 3), np.uint8), np.empty(crop, np.uint8))
    window = _Window.of(split.sizes[i], geometry, crop)
    window.write_label(split, i, label)
    window.write_image(split, i, fill, image)
    return image, label


@dataclass(frozen=True)
class _Window:
    """The pixels of an image that a crop shows."""

    rows: _Axis
    columns: _Axis

    @classmethod
    def of(cls, size: Size, geometry: Geometry, crop: Size) -> _Window:
        rows = _Axis.cut(size[0], geometry.scaled[0], geometry.top, crop[0])
        columns = _Axis.cut(size[1], geometry.scaled[1], geometry.left, crop[1])
        return cls(rows, columns.mirrored(crop[1]) if geometry.flip else columns)

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of the crop that are not padding."""
        rows, columns = self.rows, self.columns
        return slice(rows.before, rows.before + rows.length), slice(columns.before, columns.before + columns.length)

    def write_label(self, split: SplitPixels, i: int, label: Pixels) -> None:
        if (self.rows.length, self.columns.length) != label.shape:
            label[:] = IGNORE
        # Selecting whole rows is faster than selecting pixels, so columns are transposed to rows first.
        source = split.label(i)[self.rows.first : self.rows.last, self.columns.first : self.columns.last]
        picked = cv2.transpose(np.take(cv2.transpose(source), self.columns.nearest, axis=0))
        # Other modes write to a copy first.
        np.take(picked, self.rows.nearest, axis=0, out=label[self.inside], mode="clip")

    def write_image(self, split: SplitPixels, i: int, fill: tuple[int, int, int], image: Pixels) -> None:
        rows, columns, crop = self.rows, self.columns, image.shape[:2]
        if (rows.length, columns.length) != crop:
            image[:] = fill
        size = rows.last - rows.first, columns.last - columns.first
        source, _ = split.window(i, rows.first, columns.first, *size)
        flat, flat_source = image.reshape(crop[0], -1), source.reshape(len(source), -1)
        blend(flat_source, rows.near, rows.share, columns.near, columns.share, flat, rows.before, columns.before)


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
