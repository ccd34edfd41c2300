"""Photometric distortion against a plain computation, value by value, with the same draws."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from isoclock.data.loading.batches import Batches
from isoclock.data.loading.colour import build_colour
from isoclock.data.loading.photometric import PhotoMetricDistortion
from isoclock.data.packing.packed import PackedSplit
from isoclock.errors import ParamsError

NORMALISE = {"transform": "Normalize"}
OWN = {"transform": "PhotoMetricDistortion"}
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def by_hand(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The steps of mmsegmentation's PhotoMetricDistortion with its defaults, on whole images."""

    def changed(values: np.ndarray, factor: float = 1, more: float = 0) -> np.ndarray:
        return np.clip(values.astype(np.float32) * np.float32(factor) + np.float32(more), 0, 255).astype(np.uint8)

    def contrast(values: np.ndarray) -> np.ndarray:
        return changed(values, factor=random.uniform(0.5, 1.5)) if random.integers(2) else values

    if random.integers(2):
        image = changed(image, more=random.uniform(-32, 32))
    first = random.integers(2)
    image = contrast(image) if first else image
    if random.integers(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 1] = changed(hsv[..., 1], factor=random.uniform(0.5, 1.5))
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if random.integers(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + random.integers(-18, 18)) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return image if first else contrast(image)


def test_it_is_the_plain_computation_with_the_same_draws() -> None:
    distort, before, unchanged = PhotoMetricDistortion(), IMAGE.copy(), 0
    for seed in range(100):
        found = distort(IMAGE, np.random.default_rng(seed))
        np.testing.assert_array_equal(found, by_hand(IMAGE, np.random.default_rng(seed)))
        unchanged += np.array_equal(found, IMAGE)
    np.testing.assert_array_equal(IMAGE, before)
    assert 1 <= unchanged < 20, "nothing is drawn in one of 16 cases"


def test_it_is_a_function_of_seed_and_number_and_imports_no_albumentations() -> None:
    first, second = build_colour([OWN, NORMALISE]), build_colour([OWN, NORMALISE])
    found = [first.augment(IMAGE, 5, number).tobytes() for number in range(8)]
    assert found == [second.augment(IMAGE, 5, number).tobytes() for number in reversed(range(8))][::-1]
    assert len(set(found)) > 5
    assert first.augment(IMAGE, 6, 1).tobytes() != found[1]


def test_between_transforms_of_albumentations() -> None:
    listed = [{"transform": "InvertImg", "p": 1.0}, OWN, {"transform": "InvertImg", "p": 1.0}, NORMALISE]
    colour = build_colour(listed)
    assert len({colour.augment(IMAGE, 0, number).tobytes() for number in range(8)}) > 5


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"hue": 3}, "PhotoMetricDistortion has no argument 'hue'; choose from brightness_delta, contrast_range"),
        ({"hue_delta": 0}, "hue_delta must be an integer from 1 to 180, not 0"),
        ({"hue_delta": 1.5}, "hue_delta must be an integer from 1 to 180, not 1.5"),
        ({"brightness_delta": -1}, "brightness_delta must be a number of at least 0, not -1"),
        (
            {"contrast_range": [1.5, 0.5]},
            r"contrast_range must be two numbers of at least 0, the smaller first, not \[1.5",
        ),
        ({"saturation_range": 1}, "saturation_range must be two numbers of at least 0, the smaller first, not 1"),
    ],
)
def test_wrong_arguments(arguments: dict, expected: str) -> None:
    with pytest.raises(ParamsError, match=expected):
        build_colour([{**OWN, **arguments}, NORMALISE])


def test_padding_keeps_its_colour(train_split: PackedSplit) -> None:
    colour = build_colour([OWN, NORMALISE])
    batches = Batches([(train_split, 4, 2)], 0, (100, 200), (0.5, 0.5), 0.5, colour)
    for number in range(4):
        batch = batches[number]
        images = batch["images"].permute(0, 2, 3, 1).numpy()
        padded = (images == colour.fill).all(-1)
        assert (padded.sum((1, 2)) >= 100 * 200 - 32 * 64).all()
