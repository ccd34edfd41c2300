"""The compiled blend equals the plain one bit for bit, and exact interpolation up to rounding."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from isoclock.data.loading import bilinear
from isoclock.data.loading.bilinear import SHARES, blend, near_and_share, reference

SIDE = st.integers(1, 70)


def points(draws: np.random.Generator, count: int, wanted: int) -> np.ndarray:
    """Points anywhere on an axis and beyond both ends, unordered."""
    return draws.choice([draws.uniform(-2, count + 1, wanted), draws.integers(-1, count + 1, wanted)], axis=0)


def exact(image: np.ndarray, at_rows: np.ndarray, at_columns: np.ndarray) -> np.ndarray:
    for axis, at in ((0, at_rows), (1, at_columns)):
        inside = np.clip(at, 0, image.shape[axis] - 1)
        near = np.floor(inside).astype(int)
        far = np.minimum(near + 1, image.shape[axis] - 1)
        share = np.expand_dims(inside - near, (1, 2) if axis == 0 else (0, 2))
        image = image.take(near, axis) * (1 - share) + image.take(far, axis) * share
    return image


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.tuples(SIDE, SIDE), wanted=st.tuples(SIDE, SIDE), noise=st.booleans())
def test_equals_the_plain_blend_bit_for_bit(
    seed: int, size: tuple[int, int], wanted: tuple[int, int], noise: bool
) -> None:
    draws = np.random.default_rng(seed)
    image = draws.integers(0, 256, (*size, 3), dtype=np.uint8)
    if not noise:  # the steepest possible edges
        image = np.where(image > 127, np.uint8(255), np.uint8(0))
    at = [points(draws, *pair) for pair in zip(size, wanted, strict=True)]
    rows, columns = (near_and_share(*pair) for pair in zip(at, size, strict=True))
    top, left = (int(draws.integers(0, 4)) for _ in range(2))
    out = np.full((wanted[0] + top + 2, wanted[1] + left + 3, 3), 77, np.uint8)
    blend(image.reshape(size[0], -1), *rows, *columns, out.reshape(len(out), -1), top, left)
    inside = np.s_[top : top + wanted[0], left : left + wanted[1]]
    expected = reference(image, *rows, *columns)
    np.testing.assert_array_equal(out[inside], expected)
    assert np.abs(expected - exact(image.astype(float), *at)).max() < 0.55, "0.5 is due to rounding to bytes"
    out[inside] = 77
    assert (out == 77).all(), "nothing else is written"


def test_a_window_of_an_image_is_read_in_place() -> None:
    whole = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    whole.flags.writeable = False
    window = whole[5:25, 7:37]
    rows, columns = near_and_share(np.linspace(0, 19, 33), 20), near_and_share(np.linspace(0, 29, 21)[::-1], 30)
    out = np.empty((33, 21, 3), np.uint8)
    flat = window.reshape(20, -1)
    assert np.shares_memory(flat, whole)
    blend(flat, *rows, *columns, out.reshape(33, -1), 0, 0)
    np.testing.assert_array_equal(out, reference(window, *rows, *columns))


def test_whole_shares_and_clipped_points() -> None:
    near, share = near_and_share(np.array([-3.0, 0.0, 0.25, 1 - 1e-9, 1.0, 8.5, 9.0, 11.0]), 10)
    assert near.tolist() == [0, 0, 0, 0, 1, 8, 9, 9]
    assert share.tolist() == [0, 0, SHARES // 4, SHARES - 1, 0, SHARES // 2, 0, 0]


def test_it_works_without_a_writable_cache(tmp_path: Path) -> None:
    package = tmp_path / "isoclock"
    shutil.copytree(Path(bilinear.__file__).parents[2], package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "data/loading/__pycache__").write_text("not a folder")
    code = (
        "import numpy as np; from isoclock.data.loading import bilinear as b; n = b.near_and_share(np.zeros(1), 1);"
        "o = np.zeros((1, 3), np.uint8); b.blend(np.full((1, 3), 9, np.uint8), *n, *n, o, 0, 0); print(b.__file__, o.sum())"
    )
    nowhere = {"PYTHONPATH": str(tmp_path), "HOME": "/proc/nowhere"}
    done = subprocess.run([sys.executable, "-c", code], env=nowhere, capture_output=True, text=True)
    assert done.stdout.split() == [str(package / "data/loading/bilinear.py"), "27"], done.stderr
