"""Every JPEG file that libjpeg reads without a warning is accepted, and every kind of damage that can be recognised refused."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from isoclock.data.jpeg.damage import jpeg_problem
from isoclock.data.loading.pixels import decode_rgb

SCAN = b"\xff\xda"


def scene(size: tuple[int, int] = (150, 203)) -> Image.Image:
    random = np.random.default_rng(0)
    pixels = sum(
        cv2.resize(random.normal(0, 40, (n, n, 3)).astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
        for n in (4, 16, 64)
    )
    return Image.fromarray(np.clip(128 + pixels, 0, 255).astype(np.uint8))


def encoded(mode: str, quality: int, progressive: bool, subsampling: int, restarts: int) -> bytes:
    stream = io.BytesIO()
    options = {"quality": quality, "progressive": progressive, "restart_marker_rows": restarts}
    if mode == "RGB":
        options["subsampling"] = subsampling
    scene().convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


FILES = [
    *(("RGB", *rest) for rest in itertools.product((40, 75, 97), (False, True), (0, 1, 2), (0, 1))),
    *((mode, 85, progressive, 0, 0) for mode in ("L", "CMYK") for progressive in (False, True)),
]


def hole(content: bytearray, at: int, _: np.random.Generator) -> None:
    content[at : at + 4096] = bytes(len(content[at : at + 4096]))


def flips(content: bytearray, _: int, random: np.random.Generator) -> None:
    for place in random.integers(content.index(SCAN) + 20, len(content) - 2, 12):
        content[place] ^= int(random.integers(1, 256))


def end_marker(content: bytearray, at: int, _: np.random.Generator) -> None:
    content[at : at + 2] = b"\xff\xd9"


def cut(content: bytearray, at: int, _: np.random.Generator) -> None:
    del content[at:]


def removed(content: bytearray, at: int, _: np.random.Generator) -> None:
    del content[at : at + 512]


@pytest.mark.parametrize("parameters", FILES, ids=str)
def test_an_undamaged_file_is_accepted(parameters: tuple[str, int, bool, int, int]) -> None:
    content = encoded(*parameters)
    assert jpeg_problem(content) is None
    assert jpeg_problem(content + b"camera data\0") is None, "what follows the end does not matter"


@pytest.mark.parametrize("damage", [hole, flips, end_marker, cut, removed])
def test_a_damaged_file_whose_pixels_changed_is_refused(
    damage: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    changed = 0
    for number, parameters in enumerate(FILES):
        content = encoded(*parameters)
        expected = decode_rgb(content)
        random = np.random.default_rng(number)
        for _ in range(4):
            harmed = bytearray(content)
            damage(harmed, int(random.integers(harmed.index(SCAN) + 20, len(harmed) - 520)), random)
            if not np.array_equal(decode_rgb(bytes(harmed)), expected):
                changed += 1
                assert jpeg_problem(bytes(harmed)) is not None, parameters
    assert changed > 3 * len(FILES)
    capfd.readouterr()  # the warnings of OpenCV's decoder


def test_any_bytes_are_refused_without_an_exception() -> None:
    content = encoded("RGB", 75, True, 2, 1)
    random = np.random.default_rng(0)
    header = content.index(SCAN)
    for _ in range(300):
        harmed = bytearray(content)
        for place in random.integers(2, header, 3):
            harmed[place] = int(random.integers(256))
        jpeg_problem(bytes(harmed))
    for end in range(2, header + 40, 7):
        assert "cut off" in (jpeg_problem(content[:end]) or "") or end > header
    assert jpeg_problem(b"\xff\xd8\xff\xd9") is not None


def test_encoders_of_others_are_accepted() -> None:
    pixels = np.asarray(scene())
    for options in (
        [],
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
        [cv2.IMWRITE_JPEG_QUALITY, 100],
    ):
        assert jpeg_problem(cv2.imencode(".jpg", pixels, options)[1].tobytes()) is None
    white = np.full((40, 40, 3), 255, np.uint8)
    white[::3, ::5] = 0
    assert jpeg_problem(cv2.imencode(".jpg", white, [cv2.IMWRITE_JPEG_QUALITY, 20])[1].tobytes()) is None
