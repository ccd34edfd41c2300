from __future__ import annotations

import cv2
import numpy as np
import pytest

from isoclock.data.png import png_bytes, png_problem


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (3, 4, 3), (200, 180, 3)])
def test_written_pixels_are_read_back(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    content = png_bytes(pixels)
    read = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert png_problem(content) is None
    np.testing.assert_array_equal(read if len(shape) == 2 else read[..., ::-1], pixels)


def test_png_problem_is_reported() -> None:
    content = png_bytes(np.zeros((40, 40), np.uint8))
    flipped = bytearray(content)
    flipped[60] ^= 1
    assert "IDAT" in (png_problem(bytes(flipped)) or "")
    assert "cut off" in (png_problem(content[:-20]) or "")
    assert "IHDR" in (png_problem(content[:8] + content[33:]) or "")
