"""Images for training without labels: unlabelled images of the data set, and images whose labels are hidden.

Both are packed as the split `unlabelled`; the index names them. The path of a hidden label is removed once counterparts
are checked, so that no later step can read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from isoclock.labels import UNLABELLED

if TYPE_CHECKING:
    from isoclock.data.readers.reader import Sample
    from isoclock.params.schema import Dataset


def raw_splits(dataset: Dataset) -> dict[str, str]:
    """The raw split of each packed split; `val` is not among them if it is held out of `train`."""
    splits = {"train": dataset.train} if dataset.held_out else {"train": dataset.train, "val": dataset.val}
    return splits if dataset.unlabelled is None else {**splits, UNLABELLED: dataset.unlabelled}


def without_label(samples: Sequence[Sample]) -> list[Sample]:
    """The same samples without the paths of their labels."""
    return [replace(sample, label_path=None) for sample in samples]


def hide_labels(samples: Sequence[Sample], labelled_images: int, seed: int) -> tuple[list[Sample], list[Sample]]:
    """(Samples that keep their labels, the others without labels), both in the original order, chosen by `seed`."""
    known, hidden = chosen(samples, labelled_images, seed)
    return known, without_label(hidden)


def chosen(samples: Sequence[Sample], number: int, seed: int) -> tuple[list[Sample], list[Sample]]:
    """(`number` samples chosen by `seed`, the others), both in the original order."""
    random = np.random.Generator(np.random.PCG64(seed))
    places = set(random.permutation(len(samples))[:number].tolist())
    return (
        [sample for i, sample in enumerate(samples) if i in places],
        [sample for i, sample in enumerate(samples) if i not in places],
    )
