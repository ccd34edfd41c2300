"""Label files of every kind of PNG: the stored values are packed, or the file is refused with a reason."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from isoclock.data.packing.labels import decode_rgb_16bit, label_values
from isoclock.data.packing.packed import PackedSplit
from isoclock.data.packing.prepare import prepare
from isoclock.data.png import SIGNATURE, png_bytes
from isoclock.data.readers import camvid
from isoclock.data.readers.reader import Reader
from isoclock.errors import DataError
from isoclock.labels import IGNORE

VOC = Reader(
    name="voc",
    classes=tuple(f"class {k}" for k in range(21)),
    palette=tuple((k, k, k + 1) for k in range(21)),
    raw_to_train={**{k: k for k in range(21)}, 255: IGNORE},
    scan=lambda root, split: ([], []),
)
SPLITS = {"train": "train", "val": "val"}


def packed_rows(values: np.ndarray, bits: int) -> bytes:
    """A PNG with `bits` a pixel, written by hand: other writers choose the depth themselves."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    binary = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(binary.reshape(len(values), -1).astype(np.uint8), axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def palette_png(values: np.ndarray, colours: list[tuple[int, int, int]], **options: object) -> bytes:
    image = Image.fromarray(values.astype(np.uint8), "P")
    image.putpalette([channel for colour in colours for channel in colour])
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_values_of_few_bits_are_not_scaled(bits: int) -> None:
    values = np.random.default_rng(0).integers(0, min(1 << bits, 21), (7, 13))
    np.testing.assert_array_equal(label_values(packed_rows(values, bits), VOC), values)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_label_has_the_values_of_its_indices(bits: int) -> None:
    # The first colours of PASCAL VOC, whose devkit computes them from the bits of the index.
    colours = [
        tuple(sum(((k >> (3 * j + c)) & 1) << (7 - j) for j in range(8)) for c in range(3)) for k in range(1 << bits)
    ]
    values = np.random.default_rng(0).integers(0, min(1 << bits, 21), (7, 13))
    if bits == 8:
        values[0] = 255
    content = palette_png(values, colours, bits=bits, transparency=0)  # type: ignore[arg-type]
    assert Image.open(io.BytesIO(content)).mode == "P"
    assert content[24] == bits
    np.testing.assert_array_equal(label_values(content, VOC), values)


def test_a_palette_of_grey_values_is_refused_only_if_both_could_be_meant() -> None:
    values = np.array([[0, 1], [2, 2]], np.uint8)
    with pytest.raises(ValueError, match="grey values 0, 7, 12 for the indices 0, 1, 2"):
        label_values(palette_png(values, [(0, 0, 0), (7, 7, 7), (12, 12, 12)]), VOC)
    for colours in ([(k, k, k) for k in (0, 1, 2)], [(k, k, k) for k in (0, 100, 200)]):
        np.testing.assert_array_equal(label_values(palette_png(values, colours), VOC), values)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros((4, 4, 3), np.uint8), "RGB, 8 bits"),
        (np.zeros((4, 4, 4), np.uint8), "RGB with transparency"),
        (np.zeros((4, 4), np.uint16), "grey, 16 bits"),
    ],
)
def test_other_labels_are_refused_with_a_reason(pixels: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        label_values(cv2.imencode(".png", pixels)[1].tobytes(), VOC)


def test_images_with_16_bits_are_refused_or_scaled_by_the_entry(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (6, 8, 3)).astype(np.uint16)
    for split in SPLITS:
        for folder, content in (
            (split, cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()),
            (f"{split}annot", png_bytes(np.zeros((6, 8), np.uint8))),
        ):
            (tmp_path / "raw" / folder).mkdir(parents=True)
            (tmp_path / "raw" / folder / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"an image with 16 bits; .* white_16bit: 65535"):
        prepare(camvid.READER, tmp_path / "raw", tmp_path / "out", splits=SPLITS)
    prepare(camvid.READER, tmp_path / "raw", tmp_path / "out", splits=SPLITS, white_16bit=4000)
    expected = np.minimum(np.rint(pixels / 4000 * 255), 255)
    np.testing.assert_allclose(PackedSplit(tmp_path / "out", "train").image(0), expected, atol=1e-6)
    grey = cv2.imencode(".png", pixels[..., 0])[1].tobytes()
    assert decode_rgb_16bit(grey, 4000).shape == (6, 8, 3)  # type: ignore[union-attr]
