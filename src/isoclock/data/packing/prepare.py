"""Verify a raw data set, folders or archives, and pack it into files that training maps into memory.

Every image is decoded once: the pixels that are verified are those that are packed. The packed folder replaces the old one
only if there is no problem at all. Otherwise all problems are reported together and nothing is kept. The samples that an
interrupted run has packed are kept for the next run.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import cv2

from isoclock.data.packing.doubts import doubts, unused_files
from isoclock.data.packing.index import describe_split
from isoclock.data.packing.pack import Packed, Packing
from isoclock.data.packing.packed import INDEX
from isoclock.data.packing.sources import (
    RawSamples,
    disk_problem,
    find_samples,
    hide_training_labels,
    hold_out,
    identities,
)
from isoclock.data.packing.verify import ACCEPT, JPEG_QUALITY, MAX_PIXELS, Decoding, Size, Storage, verify
from isoclock.data.readers.rawtree import RawTree
from isoclock.data.readers.reader import Reader
from isoclock.errors import DataError
from isoclock.labels import IGNORE
from isoclock.locks import Lock
from isoclock.os_failures import naming
from isoclock.progress import ProgressLine
from isoclock.records.document import build, schema_of, write
from isoclock.records.index import Index

_AHEAD = 3  # samples being processed, per worker
Item = TypeVar("Item")
Made = TypeVar("Made")


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
    held_out: float | None = None,
    held_out_seed: int = 0,
    accept_damaged: Collection[str] = (),
    white_16bit: int | None = None,
    max_pixels: int = MAX_PIXELS,
    dataset: str | None = None,
    code: str = "",
    workers: int = 1,
    progress: ProgressLine | None = None,
    report: Callable[[str], None] | None = None,
) -> Index:
    """Pack the raw data set at `root` into folder `out` and return its index (also written as index.json).

    `splits` maps each packed split to its raw split, as in {"train": "train", "val": "val"}; split `unlabelled` is packed
    without labels. `size` (height, width) resizes all images; None keeps their sizes. `storage` jpeg keeps images encoded.
    `images` has the number of images that a raw split must have. With `labelled_images`, that many samples of split
    `train` keep their labels; the others go to split `unlabelled`, before its own samples. With `held_out`, split
    `val` is that share of the labelled samples of `train`. `accept_damaged` has names of samples whose JPEG images are packed
    although they are damaged, `white_16bit` the value of white in images with 16 bits.
    `code` changes with the code: an interrupted packing is continued only by the code that began it.
    Images and labels of more than `max_pixels` are refused.
    `report` receives a line for each thing that is no error: files that are not used, classes that cannot be learned.

    Raises DataError that lists every problem of an archive; else every wrong count; else every missing counterpart,
    damaged file, size that differs between image and label, and label value that the data set does not have. Raises UserError
    if another process is packing the same data set.
    """
    decoding = Decoding(frozenset(accept_damaged), white_16bit, max_pixels)
    tree = RawTree.open(root)
    source = find_samples(reader, tree, splits, images or {})
    if not all(source.splits.values()):
        source.problems += unused_files(tree)
    source.count_problems += [
        f"{sample.image_path}: its name is not UTF-8 text; rename the file"
        for _, sample in source.samples
        if sample.name != sample.name.encode(errors="replace").decode()
    ]
    if labelled_images is not None and not source.problems:
        hide_training_labels(source, tree, labelled_images, labelled_seed)
    if held_out is not None and not source.problems:
        hold_out(source, tree, held_out, held_out_seed)
    if unknown := sorted(decoding.accept_damaged - {sample.name for _, sample in source.samples}):
        source.count_problems.append(
            f"{tree}: params/datasets.yaml, accept_damaged: unknown sample {unknown[0]!r}; remove it from the entry"
        )
    if source.count_problems:
        raise DataError(source.count_problems + source.problems)
    labels = {split for split, sample in source.samples if sample.label_path is not None}
    how = {"schema": schema_of(Index), "reader": reader.name, "raw_to_train": sorted(reader.raw_to_train.items())}
    how |= {"label_colours": reader.label_colours} if reader.label_colours else {}
    how |= {"size": size, "storage": storage, "quality": JPEG_QUALITY, "splits": dict(splits)}
    how |= {"accept_damaged": sorted(accept_damaged), "white_16bit": white_16bit, "code": code}
    expected = [(split, sample.name, identities(sample)) for split, sample in source.samples]
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(out.with_name(f".{out.name}.lock"), out, "packing it")
    with lock, naming(out), Packing(out, how, expected, labels, storage) as packing:
        if problem := disk_problem(source.samples[len(packing.done) :], labels, out, size, storage):
            if not packing.done:
                packing.discard()
            raise DataError(problem)
        packed = packing.done + _pack(
            reader, source, expected, packing, lock, size, storage, decoding, workers, progress
        )
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
            "splits": {split: describe_split(reader, split, packed, packing) for split in source.splits},
            "verification": {
                "pairs": len(packed),
                "checked": ["counterparts", "file integrity", "image and label of one size", "label values"],
                "counts": {raw: count for raw, count in (images or {}).items() if raw in splits.values()},
                "left_out": source.left_out,
                "accepted_damaged": sorted(accept_damaged) or None,
                "problems": 0,
                "raw_values": sorted({int(raw) for one in packed for raw in one.counts}),
            },
        }
        index = build(Index, content)
        write(packing.new / INDEX, index)
        lock.check()
        packing.publish()
    if report is not None:
        for line in (*unused_files(tree), *(f"{out}: {doubt}" for doubt in doubts(index))):
            report(line)
    return index


def _pack(
    reader: Reader,
    source: RawSamples,
    expected: Sequence[tuple[str, str, list[Any]]],
    packing: Packing,
    lock: Lock,
    size: Size | None,
    storage: Storage,
    decoding: Decoding,
    workers: int,
    progress: ProgressLine | None,
) -> list[Packed]:
    """Verify and append the samples that are not packed yet; add problems to `source`."""
    first, total = len(packing.done), len(source.samples)
    packed: list[Packed] = []
    damaged: set[str] = set()
    if progress is not None:
        progress.start_at(first)
    started = time.monotonic()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        # Threads are enough: reading, decompressing, decoding and resizing all release the GIL.
        with ThreadPoolExecutor(workers) as pool:
            checked = _in_order(
                pool,
                lambda pair: verify(reader, pair[1], size, storage, decoding),
                source.samples[first:],
                _AHEAD * workers,
            )
            for number, (sample, problems) in enumerate(checked, first):
                source.problems += problems
                if any(problem.endswith(ACCEPT) for problem in problems):
                    damaged.add(expected[number][1])
                lock.check()
                if sample is not None and not source.problems:
                    packed.append(packing.append(*expected[number], sample))
                if progress is not None:
                    rate = (number + 1 - first) / max(1e-9, time.monotonic() - started)
                    progress.update(number + 1, total, f"{rate:.1f} images/s")
    finally:
        cv2.setNumThreads(threads)
    if damaged:
        names = json.dumps(sorted(damaged | decoding.accept_damaged), ensure_ascii=False)
        source.problems.append(
            f"to pack these images as they can be decoded, add to the entry in params/datasets.yaml: accept_damaged: {names}"
        )
    return packed


def _in_order(
    pool: ThreadPoolExecutor, make: Callable[[Item], Made], items: Sequence[Item], ahead: int
) -> Iterator[Made]:
    # Not pool.map: it would decode a whole data set into memory if the disk is slower than the CPU.
    waiting: deque[Future[Made]] = deque()
    for item in items:
        waiting.append(pool.submit(make, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
