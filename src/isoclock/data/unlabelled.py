"""Images that are trained on without labels: further ones of the data set, and those whose labels are hidden.

Both are packed as the split `unlabelled`; the index names them. A hidden label is left out of what is scanned, so that nothing
after it can read it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from isoclock.data.reader import UNLABELLED, Reader, Sample, find_reader
from isoclock.schema import Dataset


def splits_of(dataset: Dataset) -> tuple[Reader, dict[str, str]]:
    """What `prepare` packs of a data set: its reader, and the raw split of each packed one.

    With `labelled_images`, the reader's training split has that many samples, chosen by a shuffle seeded by
    `labelled_seed`; the others, without their labels, come before those of the raw split `unlabelled`.
    """
    reader = find_reader(dataset.reader)
    splits = {"train": dataset.train, "val": dataset.val}
    if not dataset.has_unlabelled:
        return reader, splits
    further_split = dataset.unlabelled or UNLABELLED

    def scan(root: Path, split: str) -> tuple[list[Sample], list[str]]:
        if split == dataset.train:
            known, _, problems = _chosen(reader, root, dataset)
            return known, problems
        if split != further_split:
            return reader.scan(root, split)
        _, hidden, _ = _chosen(reader, root, dataset)
        further, problems = reader.scan(root, dataset.unlabelled) if dataset.unlabelled else ([], [])
        return [replace(sample, label_path=None) for sample in (*hidden, *further)], problems

    return replace(reader, scan=scan), {**splits, UNLABELLED: further_split}


def _chosen(reader: Reader, root: Path, dataset: Dataset) -> tuple[list[Sample], list[Sample], list[str]]:
    """Training samples that keep their labels, those that do not, both in the reader's order, and the problems."""
    samples, problems = reader.scan(root, dataset.train)
    if (wanted := dataset.labelled_images) is None or problems:
        return samples, [], problems
    if wanted >= len(samples):
        wrong = f"{root}: labelled_images is {wanted}, and split {dataset.train} has {len(samples)} images; name fewer"
        return [], [], [wrong]
    random = np.random.Generator(np.random.PCG64(dataset.labelled_seed or 0))
    known = set(random.permutation(len(samples))[:wanted].tolist())
    return (
        [sample for i, sample in enumerate(samples) if i in known],
        [sample for i, sample in enumerate(samples) if i not in known],
        [],
    )
