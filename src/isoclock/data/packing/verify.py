"""Verification of one sample. It is decoded once: the pixels that are verified are those that are packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from isoclock.data.formats import JPEG_START, image_size, kind_problem
from isoclock.data.jpeg.damage import jpeg_problem
from isoclock.data.loading.pixels import Pixels, decode_rgb
from isoclock.data.packing.labels import MATLAB_START, count_values, decode_rgb_16bit, label_values
from isoclock.data.png import png_header, png_problem
from isoclock.errors import DataError
from isoclock.labels import ILLEGAL

if TYPE_CHECKING:
    from isoclock.data.readers.rawtree import RawFile
    from isoclock.data.readers.reader import Reader, Sample

Size = tuple[int, int]
Storage = Literal["raw", "jpeg"]

MAX_PIXELS = 1 << 26
"""Larger images are not decoded unless the entry says so: a few hundred bytes can declare gigabytes of pixels."""

_DECODER_PIXELS, _DECODER_SIDE = 1 << 30, 1_000_000  # of OpenCV, and of libpng in it

ACCEPT = "download it again, or list it under accept_damaged"
"""The end of a problem that an entry of params/datasets.yaml may accept."""

JPEG_QUALITY = 95
"""Quality of images that are encoded here, without chroma subsampling; JPEG files of a data set are kept as they are."""


@dataclass(frozen=True)
class Decoding:
    """What an entry says of its files.

    Samples whose damaged JPEG images are accepted, white of images with 16 bits, and pixels of the largest image.
    """

    accept_damaged: frozenset[str] = frozenset()
    white_16bit: int | None = None
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class Verified:
    """A sample to be packed, with the pixel count of each raw label value (256,) and the sum of each colour (3,)."""

    size: Size
    image: Pixels | bytes  # RGB (H, W, 3), or the content of a JPEG file
    label: Pixels | None  # train ids (H, W)
    raw_pixels: NDArray[np.int64]
    rgb_sum: NDArray[np.float64]


def verify(
    reader: Reader, sample: Sample, size: Size | None, storage: Storage, decoding: Decoding = Decoding()
) -> tuple[Verified | None, list[str]]:
    """Decode and check a sample. Returns (sample, []), or (None, problems) with one line per problem.

    `size` (height, width) resizes it: images by area or bilinear interpolation, labels by nearest neighbour.
    """
    problems: list[str] = []
    content = _content(sample.image_path, decoding, problems, sample.name in decoding.accept_damaged)
    image = None if content is None else _image(sample.image_path, content, decoding, problems)
    raw, counts = None, np.zeros(256, np.int64)
    if sample.label_path is not None and (raw := _raw_label(reader, sample.label_path, decoding, problems)) is not None:
        counts = count_values(raw)
        illegal = np.flatnonzero((counts > 0) & (reader.label_table == ILLEGAL))
        if illegal.size:
            values = ", ".join(str(value) for value in illegal)
            problems.append(f"{sample.label_path}: {reader.unknown_problem(f'label values {values}')}")
        if image is not None and image.shape[:2] != raw.shape:
            problems.append(f"{sample.label_path}: size {_times(raw.shape)}, but its image is {_times(image.shape)}")
    if problems or image is None or content is None:
        return None, problems
    label = None if raw is None else np.asarray(cv2.LUT(raw, reader.label_table), np.uint8)
    resized = size is not None and image.shape[:2] != size
    if size is not None and resized:
        smaller = size[0] <= image.shape[0] and size[1] <= image.shape[1]
        image = np.asarray(
            cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.uint8
        )
        if label is not None:
            label = np.asarray(cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
            counts = _resized_counts(reader, label)
    height, width = image.shape[:2]
    colours = np.array(cv2.sumElems(image)[:3])
    stored = image if storage == "raw" else _as_jpeg(image, None if resized else content)
    return Verified((height, width), stored, label, counts, colours), []


def _image(path: RawFile, content: bytes, decoding: Decoding, problems: list[str]) -> Pixels | None:
    if content.startswith(JPEG_START) or png_header(content).bits <= 8:
        image = decode_rgb(content)
    elif decoding.white_16bit is None:
        problems.append(
            f"{path}: an image with 16 bits; convert it to 8 bits, or say in its entry which value is white, such as "
            "white_16bit: 65535"
        )
        return None
    else:
        image = decode_rgb_16bit(content, decoding.white_16bit)
    if image is None:
        problems.append(f"{path}: cannot be decoded; download it again")
    return image


def _content(
    path: RawFile, decoding: Decoding, problems: list[str], damage_accepted: bool, matlab: bool = False
) -> bytes | None:
    try:
        content = path.read_bytes()
    except DataError as error:
        problems += error.problems
        return None
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror})")
        return None
    if matlab and content.startswith(MATLAB_START):
        return content
    jpeg = content.startswith(JPEG_START)
    if (wrong := kind_problem(content)) is not None:
        problems.append(f"{path}: {wrong}")
    elif not jpeg and (wrong := png_problem(content)) is not None:
        problems.append(f"{path}: {wrong}; download it again")
    elif (wrong := _size_problem(content, decoding.max_pixels)) is not None:
        problems.append(f"{path}: its header declares {wrong}")
    elif jpeg and not damage_accepted and (wrong := jpeg_problem(content)) is not None:
        problems.append(f"{path}: {wrong}; {ACCEPT}")
    else:
        return content
    return None


def _size_problem(content: bytes, max_pixels: int) -> str | None:
    if (size := image_size(content)) is None:
        return "no valid size; download it again"
    pixels = size[0] * size[1]
    if pixels > _DECODER_PIXELS or max(size) > _DECODER_SIDE:
        return f"{_times(size)} pixels, which cannot be decoded; download it again, or cut it into smaller images"
    if pixels > max_pixels:
        return (
            f"{_times(size)} pixels, more than {max_pixels}; download it again, or, if that is its size, add to the entry in "
            f"params/datasets.yaml: max_pixels: {pixels}"
        )
    return None


def _raw_label(reader: Reader, path: RawFile, decoding: Decoding, problems: list[str]) -> Pixels | None:
    content = _content(path, decoding, problems, damage_accepted=True, matlab=reader.from_matlab is not None)
    if content is None:
        return None
    if content.startswith(JPEG_START):
        problems.append(f"{path}: a label must be a PNG file, because JPEG changes values; convert it from its source")
        return None
    try:
        return label_values(content, reader)
    except ValueError as error:
        problems.append(f"{path}: {error}")
        return None


def _resized_counts(reader: Reader, label: Pixels) -> NDArray[np.int64]:
    # Counts are those of the packed labels; each train id is counted for the first raw value that maps to it.
    trained = count_values(label)
    counts = np.zeros(256, np.int64)
    for raw in reader.raw_to_train:
        train = reader.raw_to_train[raw]
        counts[raw], trained[train] = trained[train], 0
    return counts


def _as_jpeg(image: Pixels, content: bytes | None) -> bytes:
    if content is not None and content.startswith(JPEG_START):
        return content
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def _times(shape: Sequence[int]) -> str:
    return f"{shape[0]}x{shape[1]}"
