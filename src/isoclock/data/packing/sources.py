"""The samples of a raw data set that are to be packed, and the disk space that packing them needs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoclock.data.formats import image_size
from isoclock.data.packing.unlabelled import chosen, hide_labels, without_label
from isoclock.data.packing.verify import Size, Storage
from isoclock.data.readers.archive import ArchiveMember
from isoclock.data.readers.rawtree import RawFile, RawTree, identity
from isoclock.data.readers.reader import Reader, Sample
from isoclock.errors import DataError
from isoclock.labels import UNLABELLED

_HEAD_BYTES = 1 << 16
_HEADERS_READ = 200
_BYTES_PER_PIXEL = {"raw": 3.0, "jpeg": 0.75}  # of an image; JPEG needed a sixth of raw when measured, so 0.75 is safe


@dataclass
class RawSamples:
    """The samples of a data set by split, in order; the samples left out, with the reason; and the problems found."""

    splits: dict[str, list[Sample]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    count_problems: list[str] = field(default_factory=list)

    @property
    def samples(self) -> list[tuple[str, Sample]]:
        """All samples, each with its split."""
        return [(split, sample) for split, samples in self.splits.items() for sample in samples]


def find_samples(reader: Reader, tree: RawTree, splits: Mapping[str, str], images: Mapping[str, int]) -> RawSamples:
    """Scan the raw splits. `images` has the number of images that a raw split must have.

    Raises DataError with one line for each link among them whose target does not exist.
    """
    source = RawSamples()
    for split, raw_split in splits.items():
        found, problems = reader.scan(tree, raw_split)
        source.problems += problems
        good = [sample for sample in found if sample.name not in reader.known_bad]
        source.left_out |= {
            sample.name: reader.known_bad[sample.name] for sample in found if sample.name in reader.known_bad
        }
        wanted = images.get(raw_split, len(good))
        if wanted != len(good):
            source.count_problems.append(
                f"{tree}: split {raw_split} has {len(good)} images, but {wanted} are expected (params/datasets.yaml, images); "
                "finish the download, or add an entry for your subset with its own `images`, or without"
            )
        elif not good and not problems:
            source.problems.append(f"{tree}: reader {reader.name} finds no images of split {raw_split}; put them there")
        source.splits[split] = without_label(good) if split == UNLABELLED else good
    tree.check_links()
    return source


def hide_training_labels(source: RawSamples, tree: RawTree, labelled_images: int, seed: int) -> None:
    """Keep the labels of `labelled_images` samples of split `train`; move the others to split `unlabelled`."""
    train = source.splits["train"]
    if labelled_images >= len(train):
        source.count_problems.append(
            f"{tree}: labelled_images is {labelled_images}, but split train has only {len(train)} images; choose fewer"
        )
    source.splits["train"], hidden = hide_labels(train, labelled_images, seed)
    source.splits[UNLABELLED] = hidden + source.splits.get(UNLABELLED, [])


def hold_out(source: RawSamples, tree: RawTree, share: float, seed: int) -> None:
    """Move a share of the labelled samples of split `train`, chosen by `seed`, to split `val`: at least one."""
    train = source.splits["train"]
    number = max(1, round(share * len(train)))
    if number >= len(train):
        source.count_problems.append(
            f"{tree}: held_out is {share:g}, and split train has only {len(train)} images; choose a smaller share"
        )
    source.splits["val"], source.splits["train"] = chosen(train, number, seed)


def identities(sample: Sample) -> list[Any]:
    """What changes when a file of the sample changes; None for a sample without label."""
    files = (sample.image_path, sample.label_path)
    return [None if file is None else [str(file), *identity(file)] for file in files]


def disk_problem(
    samples: Sequence[tuple[str, Sample]], labels: set[str], out: Path, size: Size | None, storage: Storage
) -> str | None:
    """An error message if the file system of `out` lacks the space that packing `samples` needs, else None."""
    # A few hundred headers are enough for an estimate. A file that is not an image is reported when it is decoded.
    per_pixel = _BYTES_PER_PIXEL[storage]
    measured = samples[:: max(1, len(samples) // _HEADERS_READ)]
    need = 0.0
    for split, sample in measured:
        height, width = size or image_size(_head(sample.image_path)) or (0, 0)
        need += (per_pixel + (split in labels)) * height * width * len(samples) / len(measured)
    free = shutil.disk_usage(out.parent).free
    if need <= free:
        return None
    return (
        f"{out}: packing needs about {need / 2**20:.1f} MiB, but {free / 2**20:.1f} MiB are free; free some disk space"
    )


def _head(file: RawFile) -> bytes:
    try:
        if isinstance(file, ArchiveMember):
            return file.head(_HEAD_BYTES)
        with file.open("rb") as stream:
            return stream.read(_HEAD_BYTES)
    except (OSError, DataError):
        return b""
