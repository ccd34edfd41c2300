"""Verify a raw data set and pack it into raw uint8 files that training maps into memory.

Every image is decoded once: what is verified is what is packed. Packing goes to a temporary folder that takes its place
only if not one problem was found; otherwise all problems are told at once and nothing is left.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from isoclock.artifacts import sha256_file, write_json
from isoclock.data.packed import INDEX
from isoclock.data.png import damage
from isoclock.data.reader import IGNORE, ILLEGAL, Reader, Sample
from isoclock.errors import DataError

Pixels = NDArray[np.uint8]
Size = tuple[int, int]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Place:
    """Where a sample goes: split, position in the split, pixels before it."""

    sample: Sample
    split: str
    position: int
    size: Size
    offset: int


@dataclass(frozen=True)
class _Packed:
    """What was found in one sample: pixels by raw label value (256,), and the sum of each colour (3,)."""

    raw_pixels: NDArray[np.int64]
    rgb_sum: NDArray[np.float64]


def prepare(
    reader: Reader,
    root: Path,
    out: Path,
    *,
    splits: Mapping[str, str],
    size: Size | None = None,
    dataset: str | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Pack the raw data set at `root` into folder `out` and return its index (also written as index.json).

    `splits` names what is packed and the raw split it is made of, as in {"train": "train", "val": "val"}.
    `size` (height, width) resizes everything (images by area or bilinear, labels by nearest neighbour); None keeps each
    image's own size. `progress(done, total)` counts samples. Raises DataError that lists every missing counterpart,
    damaged file, size that differs between image and label, and label value that the data set does not have.
    """
    problems: list[str] = []
    found: dict[str, list[Sample]] = {}
    for split, raw_split in splits.items():
        found[split], missing = reader.scan(root, raw_split)
        problems += missing
    samples = [(split, sample) for split in splits for sample in found[split]]
    with ThreadPoolExecutor(workers) as pool:
        sizes = list(pool.map(lambda pair: size or _size_of(pair[1].image_path), samples))
    places = _lay_out(samples, sizes)
    need = 4 * sum(height * width for height, width in sizes)
    out.parent.mkdir(parents=True, exist_ok=True)
    if need > (free := shutil.disk_usage(out.parent).free):
        raise DataError(
            [*problems, f"{out}: packing needs {need >> 20} MiB, but {free >> 20} MiB are free there; make room"]
        )

    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        new = Path(name) / "new"
        new.mkdir()
        packed = _pack_all(reader, places, new, size, workers, progress, problems)
        if problems:
            raise DataError(problems)
        index = {
            "schema": 1,
            "dataset": dataset or reader.name,
            "reader": reader.name,
            "classes": list(reader.classes),
            "palette": [list(colour) for colour in reader.palette],
            "ignore": IGNORE,
            "resize": None if size is None else list(size),
            "splits": {split: _describe(reader, split, places, packed, new) for split in splits},
            "verification": {
                "pairs": len(samples),
                "checked": ["counterparts", "file integrity", "image and label of one size", "label values"],
                "problems": 0,
                "raw_values": [
                    int(raw) for raw in np.flatnonzero(sum((one.raw_pixels for one in packed), np.zeros(256, np.int64)))
                ],
            },
        }
        write_json(new / INDEX, index)
        new.chmod(0o755)
        if out.exists():
            out.replace(Path(name) / "old")
        new.replace(out)
    return index


def file_names(split: str) -> dict[str, str]:
    """Names of a split's packed files in a prepared folder."""
    return {"images": f"{split}.images.u8", "labels": f"{split}.labels.u8"}


def _size_of(path: Path) -> Size:
    # PIL reads the header only. A file that is no image gets size 0 and is told of when it is decoded.
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError:
        return 0, 0


def _lay_out(samples: list[tuple[str, Sample]], sizes: list[Size]) -> list[_Place]:
    places: list[_Place] = []
    for (split, sample), size in zip(samples, sizes, strict=True):
        before = places[-1] if places and places[-1].split == split else None
        position = before.position + 1 if before else 0
        offset = before.offset + before.size[0] * before.size[1] if before else 0
        places.append(_Place(sample, split, position, size, offset))
    return places


def _pack_all(
    reader: Reader,
    places: list[_Place],
    folder: Path,
    size: Size | None,
    workers: int,
    progress: Progress | None,
    problems: list[str],
) -> list[_Packed]:
    # Threads suffice: decoding, resizing and writing all release the interpreter's lock.
    handles = {
        (split, kind): os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
        for split in {place.split for place in places}
        for kind, name in file_names(split).items()
    }
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    packed: list[_Packed] = []
    try:
        with ThreadPoolExecutor(workers) as pool:
            results = pool.map(lambda place: _pack_one(reader, place, handles, size), places)
            for done, (one, wrong) in enumerate(results, 1):
                problems += wrong
                if one is not None:
                    packed.append(one)
                if progress is not None:
                    progress(done, len(places))
        for handle in handles.values():
            os.fsync(handle)
    finally:
        cv2.setNumThreads(threads)
        for handle in handles.values():
            os.close(handle)
    return packed


def _pack_one(
    reader: Reader, place: _Place, handles: dict[tuple[str, str], int], size: Size | None
) -> tuple[_Packed | None, list[str]]:
    sample = place.sample
    problems: list[str] = []
    image = _decode(sample.image_path, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION, problems)
    raw = _decode(sample.label_path, cv2.IMREAD_UNCHANGED, problems) if sample.label_path else None
    if raw is not None and (raw.ndim != 2 or raw.dtype != np.uint8):
        problems.append(
            f"{sample.label_path}: a label must have one 8-bit channel, this has shape {raw.shape} of {raw.dtype}"
        )
        raw = None
    counts = np.zeros(256, np.int64)
    if raw is not None:
        counts = np.bincount(raw.ravel(), minlength=256)
        illegal = np.flatnonzero((counts > 0) & (reader.label_table == ILLEGAL))
        if illegal.size:
            values = ", ".join(str(value) for value in illegal)
            problems.append(f"{sample.label_path}: label values {values}, which {reader.name} does not have")
        if image is not None and image.shape[:2] != raw.shape:
            problems.append(f"{sample.label_path}: {_times(raw.shape)}, but its image is {_times(image.shape)}")
    if problems or image is None:
        return None, problems
    label: Any = np.full(image.shape[:2], IGNORE, np.uint8) if raw is None else cv2.LUT(raw, reader.label_table)
    if size is not None and image.shape[:2] != size:
        smaller = size[0] <= image.shape[0] and size[1] <= image.shape[1]
        image = np.asarray(
            cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.uint8
        )
        label = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        counts = _resized_counts(reader, label) if raw is not None else counts
    _write(handles[place.split, "images"], image, 3 * place.offset)
    _write(handles[place.split, "labels"], label, place.offset)
    return _Packed(counts, np.array(cv2.sumElems(image)[:3])), []


def _resized_counts(reader: Reader, label: Pixels) -> NDArray[np.int64]:
    # Counts are of what was packed; a train id stands for the first raw value that maps to it.
    trained = np.bincount(label.ravel(), minlength=256)
    counts = np.zeros(256, np.int64)
    for raw in reader.raw_to_train:
        train = reader.raw_to_train[raw]
        counts[raw], trained[train] = trained[train], 0
    return counts


def _decode(path: Path, flags: int, problems: list[str]) -> Pixels | None:
    try:
        content = path.read_bytes()
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror})")
        return None
    if (wrong := damage(content)) is not None:
        problems.append(f"{path}: {wrong}; fetch it again")
        return None
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if pixels is None:
        problems.append(f"{path}: cannot be decoded; fetch it again")
        return None
    return np.asarray(pixels)


def _write(handle: int, pixels: Pixels, offset: int) -> None:
    view = memoryview(np.ascontiguousarray(pixels).data).cast("B")
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


def _describe(reader: Reader, split: str, places: list[_Place], packed: list[_Packed], folder: Path) -> dict[str, Any]:
    mine = [(place, one) for place, one in zip(places, packed, strict=True) if place.split == split]
    pixels = sum(place.size[0] * place.size[1] for place, _ in mine)
    raw = sum((one.raw_pixels for _, one in mine), np.zeros(256, np.int64))
    per_class = np.array([raw[reader.label_table == train].sum() for train in range(reader.num_classes)])
    in_images = [
        sum(bool(one.raw_pixels[reader.label_table == train].any()) for _, one in mine)
        for train in range(reader.num_classes)
    ]
    trained = max(1, int(per_class.sum()))
    files = {
        kind: {"file": name, "bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
        for kind, name in file_names(split).items()
    }
    return {
        "images": len(mine),
        "files": files,
        "names": [place.sample.name for place, _ in mine],
        "sizes": [list(place.size) for place, _ in mine],
        "offsets": [place.offset for place, _ in mine],
        "labelled": [place.sample.label_path is not None for place, _ in mine],
        "mean_rgb": [float(total) / max(1, pixels) for total in sum((one.rgb_sum for _, one in mine), np.zeros(3))],
        "void_pixels": int(raw[reader.label_table == IGNORE].sum()),
        "class_pixels": per_class.tolist(),
        "class_frequency": [pixels / trained for pixels in per_class.tolist()],
        "class_images": in_images,
    }


def _times(shape: Sequence[int]) -> str:
    return f"{shape[0]}x{shape[1]}"
