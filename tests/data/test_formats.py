"""Sizes in the headers of image files, and files of kinds that are not read."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from miniatures import camvid, unpacked
from PIL import Image

from isoclock.data.formats import image_size, kind_problem
from isoclock.data.packing.packed import PackedSplit
from isoclock.data.packing.prepare import prepare
from isoclock.data.png import png_bytes
from isoclock.data.readers.camvid import READER
from isoclock.errors import DataError

SPLITS = {"train": "train", "val": "val"}


def saved(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        saved("PNG"),
        saved("JPEG"),
        saved("JPEG", progressive=True, exif=b"Exif\0\0" + bytes(60_000)),
        saved("JPEG", comment=b"\xff\xc0" * 30).replace(b"\xff\xfe", b"\xff\xff\xff\xfe", 1),  # with fill bytes
    ],
    ids=len,
)
def test_the_size_of_an_image(content: bytes) -> None:
    assert image_size(content) == (5, 7)
    assert image_size(content[:20]) is None
    assert kind_problem(content) is None


def test_any_bytes_have_a_size_or_none() -> None:
    random = np.random.default_rng(0)
    for content in (saved("PNG"), saved("JPEG"), b"\xff\xd8" + b"\xff" * 100, b"\xff\xd8" + bytes(100), b""):
        for _ in range(100):
            harmed = bytearray(content)
            for place in random.integers(0, max(1, len(harmed)), 3):
                harmed[place : place + 1] = random.bytes(len(harmed[place : place + 1]))
            image_size(bytes(harmed[: random.integers(0, 700)]))


@pytest.mark.parametrize(
    ("kind", "name"),
    [("TIFF", "TIFF"), ("BMP", "BMP"), ("GIF", "GIF"), ("WEBP", "WebP"), ("PPM", "Netpbm"), ("JPEG2000", "JPEG 2000")],
)
def test_other_kinds_are_refused_with_a_remedy(kind: str, name: str) -> None:
    problem = kind_problem(saved(kind))
    assert problem is not None
    assert problem.startswith(f"a {name}")
    assert problem.endswith("; convert it to PNG (docs/data.md has a command)")


def test_what_is_no_image() -> None:
    assert kind_problem(b"") == "empty; download it again"
    assert kind_problem(b"<html>") == "neither PNG nor JPEG; download it again"
    assert "git lfs pull" in (kind_problem(b"version https://git-lfs.github.com/spec/v1\n") or "")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    unpacked(camvid(tmp_path), tmp_path)
    return tmp_path / "CamVid"


def test_tiff_and_bmp_files_with_another_ending(raw: Path) -> None:
    image, label = (min((raw / folder).iterdir()) for folder in ("train", "valannot"))
    image.write_bytes(saved("TIFF"))
    label.write_bytes(saved("BMP"))
    with pytest.raises(DataError) as caught:
        prepare(READER, raw, raw.parent / "out", splits=SPLITS)
    assert [problem.partition(", and only")[0] for problem in caught.value.problems] == [
        f"{image}: a TIFF file",
        f"{label}: a BMP file",
    ]


def test_the_entry_may_raise_the_pixel_limit(raw: Path) -> None:
    with pytest.raises(DataError, match=r"(?m)32x64 pixels, more than 2047; .*datasets.yaml: max_pixels: 2048$"):
        prepare(READER, raw, raw.parent / "out", splits=SPLITS, max_pixels=2047)
    prepare(READER, raw, raw.parent / "out", splits=SPLITS, max_pixels=2048)
    wide = np.zeros((1, (1 << 16) + 5), np.uint8)
    for folder in ("train", "trainannot"):
        (raw / folder / "wide.png").write_bytes(png_bytes(wide))
    prepare(READER, raw, raw.parent / "out", splits=SPLITS)
    assert PackedSplit(raw.parent / "out", "train").sizes[-1] == wide.shape


@pytest.mark.parametrize(
    ("size", "words"),
    [((9_000, 9_000), "max_pixels: 81000000"), ((60_000, 60_000), "cannot be decoded"), ((1, 0), "no valid size")],
)
def test_an_image_that_declares_too_much_is_not_decoded(size: tuple[int, int], words: str, raw: Path) -> None:
    path = min((raw / "train").iterdir())
    small = bytearray(path.read_bytes())
    small[16:24] = struct.pack(">II", *size)
    small[29:33] = struct.pack(">I", zlib.crc32(small[12:29]))
    path.write_bytes(small)
    with pytest.raises(DataError, match=f"{path.name}: its header declares .*{words}"):
        prepare(READER, raw, raw.parent / "out", splits=SPLITS)
