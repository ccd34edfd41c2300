from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoclock.data.loading.augment import GEOMETRY, Geometry, crop_sample, draw_geometry, generator
from isoclock.data.packing.packed import PackedSplit

FILL = (1, 2, 3)


def scale_then_crop(
    split: PackedSplit, i: int, geometry: Geometry, crop: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Scale the whole image, pad it on every side, crop, flip."""
    size = geometry.scaled[::-1]
    image = cv2.resize(split.image(i), size, interpolation=cv2.INTER_LINEAR)
    rows, columns = (
        (2 * np.arange(scaled) + 1) * source // (2 * scaled)
        for source, scaled in zip(split.sizes[i], geometry.scaled, strict=True)
    )
    label = split.label(i)[rows][:, columns]
    wide = [(crop[0], crop[0]), (crop[1], crop[1])]
    image = np.stack([np.pad(image[..., c], wide, constant_values=FILL[c]) for c in range(3)], -1)
    label = np.pad(label, wide, constant_values=255)
    window = np.s_[geometry.top + crop[0] :, geometry.left + crop[1] :]
    image, label = image[window][: crop[0], : crop[1]], label[window][: crop[0], : crop[1]]
    return (image[:, ::-1], label[:, ::-1]) if geometry.flip else (image, label)


@pytest.mark.parametrize("crop", [(32, 64), (64, 128), (50, 30), (100, 200)])
def test_equals_scale_then_crop(train_split: PackedSplit, crop: tuple[int, int]) -> None:
    for number in range(60):
        i = number % 6
        geometry = draw_geometry(generator(3, GEOMETRY, number), train_split.sizes[i], crop, (0.5, 2.0), 0.5)
        image, label = crop_sample(train_split, i, geometry, crop, FILL)
        expected_image, expected_label = scale_then_crop(train_split, i, geometry, crop)
        assert image.flags.c_contiguous
        assert np.abs(image.astype(int) - expected_image).max() <= 1
        np.testing.assert_array_equal(label, expected_label)


class InMemory(PackedSplit):
    """A PackedSplit of one image of any size, in memory."""

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        draws = np.random.default_rng(seed)
        self.sizes = [size]
        self._image = draws.integers(0, 256, (*size, 3), dtype=np.uint8)
        self._label = draws.integers(0, 20, size, dtype=np.uint8)

    def image(self, i: int) -> np.ndarray:
        return self._image

    def label(self, i: int) -> np.ndarray:
        return self._label


SIDE = st.integers(1, 150)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.tuples(SIDE, SIDE),
    crop=st.tuples(SIDE, SIDE),
    scale=st.floats(0.25, 4.0),
)
def test_any_size_and_scale_equals_scale_then_crop(
    seed: int, size: tuple[int, int], crop: tuple[int, int], scale: float
) -> None:
    """Noise has the steepest possible edges: differences of one are due to rounding."""
    split = InMemory(seed, size)
    geometry = draw_geometry(generator(seed, GEOMETRY, 0), size, crop, (scale, scale), 0.5)
    image, label = crop_sample(split, 0, geometry, crop, FILL)
    expected_image, expected_label = scale_then_crop(split, 0, geometry, crop)
    assert image.flags.c_contiguous
    assert np.abs(image.astype(int) - expected_image).max() <= 1
    np.testing.assert_array_equal(label, expected_label)


class Recording(InMemory):
    """Records the windows that are read."""

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        super().__init__(seed, size)
        self.windows: list[tuple[int, int, int, int]] = []

    def window(self, i: int, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        self.windows.append((top, left, height, width))
        return super().window(i, top, left, height, width)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.tuples(SIDE, SIDE),
    crop=st.tuples(SIDE, SIDE),
    scale=st.floats(0.25, 4.0),
)
def test_only_the_window_that_the_crop_needs_is_read(
    seed: int, size: tuple[int, int], crop: tuple[int, int], scale: float
) -> None:
    """Bilinear interpolation needs a source pixel on either side of each sampled point, within the image."""
    split = Recording(seed, size)
    geometry = draw_geometry(generator(seed, GEOMETRY, 0), size, crop, (scale, scale), 0.5)
    crop_sample(split, 0, geometry, crop, FILL)
    ((top, left, height, width),) = split.windows
    corner = geometry.top, geometry.left
    for first, length, source, scaled, begin, wanted in zip(
        (top, left), (height, width), size, geometry.scaled, corner, crop, strict=True
    ):
        sampled = np.arange(max(0, begin), min(scaled, begin + wanted))
        points = (sampled + 0.5) * source / scaled - 0.5
        assert 0 <= first <= first + length <= source
        assert first >= min(max(0, points[0] - 1), source - 1)
        assert first + length <= max(points[-1] + 2, first + 1)


@pytest.mark.parametrize(("scale", "at_most"), [(0.5, (1024, 2048)), (1.0, (513, 1025)), (2.0, (258, 514))])
def test_a_crop_of_a_cityscapes_image_reads_a_part_of_it(scale: float, at_most: tuple[int, int]) -> None:
    split, crop = Recording(0, (1024, 2048)), (512, 1024)
    for number in range(5):
        geometry = draw_geometry(generator(3, GEOMETRY, number), (1024, 2048), crop, (scale, scale), 0.5)
        crop_sample(split, 0, geometry, crop, FILL)
    assert all(height <= at_most[0] and width <= at_most[1] for _, _, height, width in split.windows)


def test_scale_one_copies(train_split: PackedSplit) -> None:
    image, label = crop_sample(train_split, 0, Geometry((64, 128), 3, 4, False), (20, 30), FILL)
    np.testing.assert_array_equal(image, train_split.image(0)[3:23, 4:34])
    np.testing.assert_array_equal(label, train_split.label(0)[3:23, 4:34])


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    crop=st.tuples(st.integers(1, 200), st.integers(1, 200)),
)
def test_crops_stay_on_the_image_where_they_can(seed: int, size: tuple[int, int], crop: tuple[int, int]) -> None:
    geometry = draw_geometry(generator(seed, GEOMETRY, 0), size, crop, (0.5, 2.0), 0.5)
    for begin, scaled, wanted in zip((geometry.top, geometry.left), geometry.scaled, crop, strict=True):
        if scaled >= wanted:
            assert 0 <= begin <= scaled - wanted
        else:
            assert begin <= 0
            assert begin + wanted >= scaled


def test_geometry_covers_its_range() -> None:
    drawn = [draw_geometry(generator(0, GEOMETRY, k), (100, 200), (50, 50), (0.5, 2.0), 0.25) for k in range(400)]
    heights = [geometry.scaled[0] for geometry in drawn]
    assert min(heights) < 55 < 195 < max(heights)
    assert 0.15 < np.mean([geometry.flip for geometry in drawn]) < 0.35
    assert drawn == [
        draw_geometry(generator(0, GEOMETRY, k), (100, 200), (50, 50), (0.5, 2.0), 0.25) for k in range(400)
    ]
