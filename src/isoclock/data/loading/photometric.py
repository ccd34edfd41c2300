"""Photometric distortion as in mmsegmentation, with tables: each step maps 256 values of a channel, so steps combine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoclock.errors import ParamsError

if TYPE_CHECKING:
    from isoclock.data.loading.pixels import Pixels

_VALUES = np.arange(256, dtype=np.float32)
_SAME = np.arange(256, dtype=np.uint8)
_HUES = 180  # values of a hue in 8 bits
_HUE, _SATURATION = 0, 1  # channels of HSV


@dataclass(frozen=True)
class PhotoMetricDistortion:
    """Random brightness, contrast, saturation and hue of uint8 RGB pixels (h, w, 3), each with probability 1/2.

    Equal draws give mmsegmentation's values (`PhotoMetricDistortion`, mmseg/datasets/transforms/transforms.py): brightness
    adds up to +-`brightness_delta`; contrast multiplies by a factor in `contrast_range`, before saturation and hue or after
    them; in HSV, saturation is multiplied by a factor in `saturation_range`, and the hue (0..179) moves by an integer from
    -`hue_delta` to `hue_delta` - 1. Each result is clipped and cut to an integer.

    Raises ParamsError that lists every argument of the wrong kind.
    """

    brightness_delta: float = 32.0
    contrast_range: tuple[float, float] = (0.5, 1.5)
    saturation_range: tuple[float, float] = (0.5, 1.5)
    hue_delta: int = 18

    def __post_init__(self) -> None:
        problems = []
        for name in ("contrast_range", "saturation_range"):
            value = getattr(self, name)
            if not (np.shape(value) == (2,) and all(map(_is_number, value)) and 0 <= value[0] <= value[1]):
                problems.append(f"{name} must be two numbers of at least 0, the smaller first, not {value!r}")
        if not (_is_number(self.brightness_delta) and self.brightness_delta >= 0):
            problems.append(f"brightness_delta must be a number of at least 0, not {self.brightness_delta!r}")
        if type(self.hue_delta) is not int or not 1 <= self.hue_delta <= _HUES:
            problems.append(f"hue_delta must be an integer from 1 to {_HUES}, not {self.hue_delta!r}")
        if problems:
            raise ParamsError([f"colour: PhotoMetricDistortion: {problem}" for problem in problems])

    def __call__(self, image: Pixels, random: np.random.Generator) -> Pixels:
        """Another image of the same shape, or `image` itself where nothing was drawn. The draws are in mmsegmentation's order."""
        table = _SAME
        if random.integers(2):
            delta = random.uniform(-self.brightness_delta, self.brightness_delta)
            table = _cut(_VALUES + np.float32(delta))
        contrast_first = bool(random.integers(2))
        if contrast_first:
            table = self._contrast(random)[table]
        image = _looked_up(image, table)
        if random.integers(2):
            image = _in_hsv(image, _SATURATION, _cut(_VALUES * np.float32(random.uniform(*self.saturation_range))))
        if random.integers(2):
            shift = int(random.integers(-self.hue_delta, self.hue_delta))
            image = _in_hsv(image, _HUE, ((np.arange(256) + shift) % _HUES).astype(np.uint8))
        return image if contrast_first else _looked_up(image, self._contrast(random))

    def _contrast(self, random: np.random.Generator) -> Pixels:
        if not random.integers(2):
            return _SAME
        return _cut(_VALUES * np.float32(random.uniform(*self.contrast_range)))


def _cut(values: NDArray[np.float32]) -> Pixels:
    return np.clip(values, 0, 255).astype(np.uint8)


def _looked_up(image: Pixels, table: Pixels) -> Pixels:
    import cv2  # here, because `isoclock check` does without OpenCV

    return image if table is _SAME else np.asarray(cv2.LUT(image, table), np.uint8)


def _in_hsv(image: Pixels, channel: int, table: Pixels) -> Pixels:
    import cv2

    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    # One channel by itself: a table for all three takes four times as long.
    cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, channel), table), hsv, channel)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
