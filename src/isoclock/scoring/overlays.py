"""Overlays to look at: photo, truth and prediction side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isoclock.files import written_atomically
from isoclock.labels import IGNORE

IGNORED_COLOUR = (18, 18, 22)
_UNSCORED_DIMMING = 0.3
"""Predictions on ignored pixels are dimmed to this. They are not scored, but may explain errors next to them."""
_GAP_PIXELS = 4

Panels = tuple[str, NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def spread_over(images: int, wanted: int) -> list[int]:
    """Numbers of at most `wanted` images spread evenly over 0..images-1, the same for every method."""
    wanted = min(images, wanted)
    return [(2 * place + 1) * images // (2 * wanted) for place in range(wanted)]


def write_overlays(
    folder: Path, pictures: Iterable[Panels], palette: Sequence[Sequence[int]], *, panel_width: int = 512
) -> list[Path]:
    """Write one PNG per picture: photo | truth | prediction; returns the paths in order.

    A picture is (name, photo uint8 (H, W, 3), truth uint8 (H, W) with 255 = ignore, prediction uint8 (H, W)); photo and
    labels may differ in size. `palette` holds one RGB colour per class. Ignored pixels are dark in the truth and dimmed in
    the prediction. Panels wider than `panel_width` pixels are reduced to it; a name's slashes become dashes.
    """
    written = []
    for number, (name, photo, truth, prediction) in enumerate(pictures):
        path = folder / f"{number:02d}-{_file_name(name)}.png"
        with written_atomically(path) as temporary:
            Image.fromarray(_side_by_side(photo, truth, prediction, palette, panel_width)).save(
                temporary, optimize=True
            )
        written.append(path)
    return written


def split_panels(picture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Photo, truth and prediction (H, w, 3) of a picture (H, W, 3) that `write_overlays` made."""
    width = (picture.shape[1] - 2 * _GAP_PIXELS) // 3
    return [picture[:, place : place + width] for place in (number * (width + _GAP_PIXELS) for number in range(3))]


def colour_labels(labels: NDArray[np.uint8], palette: Sequence[Sequence[int]]) -> NDArray[np.uint8]:
    """Labels (H, W) uint8 as RGB (H, W, 3) uint8; 255 and values beyond the palette are dark."""
    table = np.full((256, 3), IGNORED_COLOUR, dtype=np.uint8)
    table[: len(palette)] = np.asarray(palette, dtype=np.uint8)
    return table[labels]


def _side_by_side(
    photo: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    palette: Sequence[Sequence[int]],
    panel_width: int,
) -> NDArray[np.uint8]:
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}")
    predicted = colour_labels(prediction, palette)
    unscored = truth == IGNORE
    predicted[unscored] = (predicted[unscored] * _UNSCORED_DIMMING).astype(np.uint8)
    height, width = truth.shape
    scale = min(1.0, panel_width / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    panels = [
        np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS)),
        # Nearest: a colour between two classes would be a third class.
        np.asarray(Image.fromarray(colour_labels(truth, palette)).resize(size, Image.Resampling.NEAREST)),
        np.asarray(Image.fromarray(predicted).resize(size, Image.Resampling.NEAREST)),
    ]
    gap = np.full((size[1], _GAP_PIXELS, 3), 255, dtype=np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "image"
