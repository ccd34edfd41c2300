"""Verify a raw data set, folders or archives, and pack it into files that training maps into memory.

Every image is decoded once: what is verified is what is packed. The packed folder takes its place only if not one problem was
found; otherwise all problems are told at once and nothing is left. What an interrupted run has packed is kept for the next one.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from isoclock.data.packing.pack import Packed, Packing
from isoclock.data.packing.packed import INDEX
from isoclock.data.packing.unlabelled import hide_labels, without_label
from isoclock.data.packing.verify import JPEG_QUALITY, Size, Storage, header_size, verify
from isoclock.data.readers.archive import ArchiveMember
from isoclock.data.readers.rawtree import RawFile, RawTree, identity
from isoclock.data.readers.reader import IGNORE, UNLABELLED, Reader, Sample
from isoclock.errors import DataError
from isoclock.files import sha256_file, write_bytes
from isoclock.progress import ProgressLine
from isoclock.records.document import build, schema_of, write
from isoclock.records.index import Index

_HEAD_BYTES = 1 << 16
_LOOKED_AT = 200
_BYTES_PER_PIXEL = {"raw": 3.0, "jpeg": 0.75}  # of an image; JPEG took a sixth of raw, so that this is on the safe side
_AHEAD = 3  # samples in the works, per worker
Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass
class _Source:
    """The samples of a data set by split, in order, and those that are left out, with the reason."""

    splits: dict[str, list[Sample]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    wrong_counts: list[str] = field(default_factory=list)

    @property
    def samples(self) -> list[tuple[str, Sample]]:
        """All of them, each with its split."""
        return [(split, sample) for split, samples in self.splits.items() for sample in samples]


def prepare(
    reader: Reader,
    root: Path,
    out: Path,
    *,
    splits: Mapping[str, str],
    size: Size | None = None,
    storage: Storage = "raw",
    images: Mapping[str, int] | None = None,
    labelled_images: int | None = None,
    labelled_seed: int = 0,
    dataset: str | None = None,
    workers: int = 1,
    progress: ProgressLine | None = None,
) -> Index:
    """Pack the raw data set at `root` into folder `out` and return its index (also written as index.json).

    `splits` names what is packed and the raw split it is made of, as in {"train": "train", "val": "val"}; split `unlabelled`
    is packed without labels. `size` (height, width) resizes everything; None keeps each image's own size. `storage` jpeg
    keeps images encoded. `images` has the number of images that a raw split must have. With `labelled_images`, so many of
    split `train` keep their labels; the others go to split `unlabelled`, before those that it is made of.

    Raises DataError that lists every fault of an archive, else every wrong count, else every missing counterpart, damaged
    file, size that differs between image and label, and label value that the data set does not have.
    """
    tree = RawTree.open(root)
    try:
        source = _find(reader, tree, splits, images or {})
        if labelled_images is not None and not source.problems:
            _hide_labels(source, tree, labelled_images, labelled_seed)
        if source.wrong_counts:
            raise DataError(source.wrong_counts + source.problems)
        labels = {split for split, sample in source.samples if sample.label_path is not None}
        how = {"schema": schema_of(Index), "reader": reader.name, "raw_to_train": sorted(reader.raw_to_train.items())}
        how |= {"size": size, "storage": storage, "quality": JPEG_QUALITY, "splits": dict(splits)}
        expected = [(split, sample.name, _identities(sample)) for split, sample in source.samples]
        out.parent.mkdir(parents=True, exist_ok=True)
        with Packing(out, how, expected, labels, storage) as packing:
            if short := _shortage(source.samples[len(packing.done) :], labels, out, size, storage):
                if not packing.done:
                    packing.discard()
                raise DataError(short)
            packed = packing.done + _pack(reader, source, expected, packing, size, storage, workers, progress)
            if source.problems:
                packing.discard()
                raise DataError(source.problems)
            content = {
                "dataset": dataset or reader.name,
                "reader": reader.name,
                "classes": list(reader.classes),
                "palette": [list(colour) for colour in reader.palette],
                "ignore": IGNORE,
                "resize": None if size is None else list(size),
                "storage": {"images": "raw"} if storage == "raw" else {"images": "jpeg", "quality": JPEG_QUALITY},
                "splits": {split: _describe(reader, split, packed, packing) for split in source.splits},
                "verification": {
                    "pairs": len(packed),
                    "checked": ["counterparts", "file integrity", "image and label of one size", "label values"],
                    "counts": {raw: count for raw, count in (images or {}).items() if raw in splits.values()},
                    "left_out": source.left_out,
                    "problems": 0,
                    "raw_values": sorted({int(raw) for one in packed for raw in one.counts}),
                },
            }
            index = build(Index, content)
            write(packing.new / INDEX, index)
            packing.publish()
    finally:
        tree.close()
    return index


def _find(reader: Reader, tree: RawTree, splits: Mapping[str, str], images: Mapping[str, int]) -> _Source:
    source = _Source()
    for split, raw_split in splits.items():
        found, problems = reader.scan(tree, raw_split)
        source.problems += problems
        good = [sample for sample in found if sample.name not in reader.known_bad]
        source.left_out |= {
            sample.name: reader.known_bad[sample.name] for sample in found if sample.name in reader.known_bad
        }
        wanted = images.get(raw_split, len(good))
        if wanted != len(good):
            source.wrong_counts.append(
                f"{tree}: split {raw_split} has {len(good)} images, and {wanted} are expected (params/datasets.yaml, images); "
                "finish the download, or for a subset give an entry of your own those that you have, or none"
            )
        source.splits[split] = without_label(good) if split == UNLABELLED else good
    return source


def _hide_labels(source: _Source, tree: RawTree, labelled_images: int, seed: int) -> None:
    train = source.splits["train"]
    if labelled_images >= len(train):
        source.wrong_counts.append(
            f"{tree}: labelled_images is {labelled_images}, and split train has {len(train)} images; name fewer"
        )
    source.splits["train"], hidden = hide_labels(train, labelled_images, seed)
    source.splits[UNLABELLED] = hidden + source.splits.get(UNLABELLED, [])


def _identities(sample: Sample) -> list[Any]:
    files = (sample.image_path, sample.label_path)
    return [None if file is None else [str(file), *identity(file)] for file in files]


def _shortage(
    samples: Sequence[tuple[str, Sample]], labels: set[str], out: Path, size: Size | None, storage: Storage
) -> str | None:
    # A few hundred headers tell enough. A file that is no image is told of when it is decoded.
    per_pixel = _BYTES_PER_PIXEL[storage]
    looked_at = samples[:: max(1, len(samples) // _LOOKED_AT)]
    need = 0.0
    for split, sample in looked_at:
        height, width = size or header_size(_head(sample.image_path)) or (0, 0)
        need += (per_pixel + (split in labels)) * height * width * len(samples) / len(looked_at)
    free = shutil.disk_usage(out.parent).free
    if need <= free:
        return None
    return f"{out}: packing needs about {need / 2**20:.1f} MiB, but {free / 2**20:.1f} MiB are free there; make room"


def _head(file: RawFile) -> bytes:
    try:
        if isinstance(file, ArchiveMember):
            return file.head(_HEAD_BYTES)
        with file.open("rb") as stream:
            return stream.read(_HEAD_BYTES)
    except (OSError, DataError):
        return b""


def _pack(
    reader: Reader,
    source: _Source,
    expected: Sequence[tuple[str, str, list[Any]]],
    packing: Packing,
    size: Size | None,
    storage: Storage,
    workers: int,
    progress: ProgressLine | None,
) -> list[Packed]:
    """Verify and append what is not packed yet; problems go to `source`."""
    first, total = len(packing.done), len(source.samples)
    packed: list[Packed] = []
    if progress is not None:
        progress.start_at(first)
    started = time.monotonic()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        # Threads suffice: reading, inflating, decoding and resizing all release the interpreter's lock.
        with ThreadPoolExecutor(workers) as pool:
            checked = _in_order(
                pool,
                lambda pair: verify(reader, pair[1], size, storage),
                source.samples[first:],
                _AHEAD * workers,
            )
            for number, (sample, problems) in enumerate(checked, first):
                source.problems += problems
                if sample is not None and not source.problems:
                    packed.append(packing.append(*expected[number], sample))
                if progress is not None:
                    rate = (number + 1 - first) / max(1e-9, time.monotonic() - started)
                    progress.update(number + 1, total, f"{rate:.1f} images/s")
    finally:
        cv2.setNumThreads(threads)
    return packed


def _in_order(
    pool: ThreadPoolExecutor, make: Callable[[Item], Made], items: Sequence[Item], ahead: int
) -> Iterator[Made]:
    # Not pool.map: that would decode a whole data set into memory if the disk were slower than the cores.
    waiting: deque[Future[Made]] = deque()
    for item in items:
        waiting.append(pool.submit(make, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _describe(reader: Reader, split: str, packed: Sequence[Packed], packing: Packing) -> dict[str, Any]:
    mine = [one for one in packed if one.split == split]
    pixels = sum(one.size[0] * one.size[1] for one in mine)
    raw, in_images = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for one in mine:
        values = [int(value) for value in one.counts]
        for value in values:
            raw[value] += one.counts[str(value)]
        in_images[np.unique(reader.label_table[values])] += 1
    per_class = [int(raw[reader.label_table == train].sum()) for train in range(reader.num_classes)]
    trained = max(1, sum(per_class))
    colours = np.sum([one.rgb_sum for one in mine], axis=0) if mine else np.zeros(3)
    return {
        "images": len(mine),
        "files": _files(split, mine, packing),
        "mean_rgb": [float(total) / max(1, pixels) for total in colours],
        "void_pixels": int(raw[reader.label_table == IGNORE].sum()),
        "class_pixels": per_class,
        "class_frequency": [count / trained for count in per_class],
        "class_images": in_images[: reader.num_classes].tolist(),
    }


def _files(split: str, mine: Sequence[Packed], packing: Packing) -> dict[str, Any]:
    """Names, lengths and digests of a split's files; what is said of each sample is written to a file of its own.

    So the index stays small: of an input below 1 MB Snakemake compares the content, of a larger one the time.
    """
    names = packing.names(split)
    samples = {
        "names": [one.name for one in mine],
        "sizes": [list(one.size) for one in mine],
        "labelled": [one.labelled for one in mine],
        "image_bytes": [one.image_bytes for one in mine],
    }
    write_bytes(packing.new / names["samples"], json.dumps(samples, sort_keys=True).encode() + b"\n")
    found = {}
    for kind in [kind for kind in names if (packing.new / names[kind]).is_file()]:
        path = packing.new / names[kind]
        digest = sha256_file(path) if kind == "samples" else packing.digest(split, kind)
        found[kind] = {"file": path.name, "bytes": path.stat().st_size, "sha256": digest}
    return found
