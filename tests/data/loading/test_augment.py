from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoclock.data.loading.augment import (
    GEOMETRY,
    TRIES,
    CropRules,
    Geometry,
    crop_sample,
    draw_geometry,
    draw_sample,
    generator,
)
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


class Halves(InMemory):
    """Half of the image is of class 0, the other one of two classes and void."""

    def __init__(self, size: tuple[int, int], *, labelled: bool = True) -> None:
        super().__init__(0, size)
        self.labelled = [labelled]
        self._label[:, : size[1] // 2] = 0
        self._label[:, size[1] // 2 :] = np.random.default_rng(1).choice([1, 2, 255], (size[0], size[1] - size[1] // 2))


def drawn(
    split: InMemory, number: int, crop: tuple[int, int], rules: CropRules
) -> tuple[np.ndarray, np.ndarray, tuple]:
    image, label = np.zeros((*crop, 3), np.uint8), np.zeros(crop, np.uint8)
    random = generator(5, GEOMETRY, number)
    inside = draw_sample(random, split, 0, crop, (0.5, 2.0), 0.5, FILL, (image, label), rules)
    return image, label, inside


def by_hand(split: InMemory, number: int, crop: tuple[int, int], ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """The rule of mmsegmentation's RandomCrop: at most ten more draws, the last of which is not looked at."""
    random = generator(5, GEOMETRY, number)
    found = draw_geometry(random, split.sizes[0], crop, (0.5, 2.0), 0.5)
    for _ in range(TRIES):
        label = scale_then_crop(split, 0, found, crop)[1]
        _, counts = np.unique(label[label != 255], return_counts=True)
        if len(counts) > 1 and counts.max() / counts.sum() < ratio:
            break
        room = [scaled - wanted for scaled, wanted in zip(found.scaled, crop, strict=True)]
        top, left = (int(random.integers(min(0, side), max(0, side) + 1)) for side in room)
        found = Geometry(found.scaled, top, left, found.flip)
    return crop_sample(split, 0, found, crop, FILL)


@pytest.mark.parametrize("ratio", [0.75, 0.4])
def test_a_crop_that_one_class_dominates_is_drawn_again(ratio: float) -> None:
    split, crop, rules = Halves((80, 160)), (30, 30), CropRules(cat_max_ratio=ratio)
    again = 0
    for number in range(60):
        image, label, _ = drawn(split, number, crop, rules)
        expected_image, expected_label = by_hand(split, number, crop, ratio)
        np.testing.assert_array_equal(image, expected_image)
        np.testing.assert_array_equal(label, expected_label)
        again += not np.array_equal(label, drawn(split, number, crop, CropRules())[1])
    assert 10 < again < 60, "some crops are good at once"


def test_no_class_dominates_an_image_without_labels_or_one_that_is_all_in_the_crop() -> None:
    rules = CropRules(cat_max_ratio=0.1)
    unlabelled, small = Halves((80, 160), labelled=False), Halves((10, 20))
    for number in range(5):
        for split, crop in ((unlabelled, (30, 30)), (small, (50, 50))):
            for one, other in zip(
                drawn(split, number, crop, rules)[:2], drawn(split, number, crop, CropRules())[:2], strict=True
            ):
                np.testing.assert_array_equal(one, other)


def test_images_are_resized_before_their_scale_is_drawn() -> None:
    rules, one = CropRules(short_side=512, long_side_at_most=2048), (1.0, 1.0)
    sizes = {(375, 500): (512, 683), (1024, 683): (768, 512), (100, 1000): (205, 2048)}
    for size, scaled in sizes.items():
        assert draw_geometry(generator(0, GEOMETRY, 0), size, (9, 9), one, 0.5, rules).scaled == scaled
    plain = draw_geometry(generator(0, GEOMETRY, 0), (512, 683), (512, 512), (0.5, 2.0), 0.5)
    assert draw_geometry(generator(0, GEOMETRY, 0), (375, 500), (512, 512), (0.5, 2.0), 0.5, rules) == plain


def test_scales_in_steps() -> None:
    rules = CropRules(scale_step=0.1)
    found = {
        draw_geometry(generator(0, GEOMETRY, k), (100, 200), (9, 9), (0.5, 2.0), 0.5, rules).scaled for k in range(300)
    }
    assert found == {(height, 2 * height) for height in range(50, 201, 10)}, "16 scales, as in CIRKD"


def test_padding_at_the_end() -> None:
    split, crop = Halves((20, 40)), (64, 100)
    for number in range(20):
        image, label, (rows, columns) = drawn(split, number, crop, CropRules(padding="end"))
        assert rows.start == 0
        assert columns.start in (0, 100 - (columns.stop - columns.start)), "a flip mirrors the padding too"
        outside = np.ones(crop, bool)
        outside[rows, columns] = False
        assert outside.any()
        assert (image[outside] == FILL).all()
        assert (label[outside] == 255).all()
