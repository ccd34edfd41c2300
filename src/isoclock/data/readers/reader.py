"""The contract of a data set. A new one is one file that assigns a `Reader` to `READER`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoclock.data.readers.rawtree import RawFile, RawTree
from isoclock.discovery import sources
from isoclock.errors import DataError, ParamsError
from isoclock.labels import ILLEGAL


@dataclass(frozen=True)
class Sample:
    """One image of a raw data set; `label_path` is None where the data set gives no label."""

    name: str
    image_path: RawFile
    label_path: RawFile | None


@dataclass(frozen=True)
class Reader:
    """A data set's classes and where its files lie.

    `classes` and `palette` (RGB) are in order of train id; `raw_to_train` maps every legal raw label value to a train
    id or IGNORE; `scan(root, split)` finds the samples of a split and the problems (one line each) of those left out.
    `known_bad` names samples that are broken in the published data set, and why: they are left out with a message.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    raw_to_train: Mapping[int, int]
    scan: Callable[[RawTree, str], tuple[list[Sample], list[str]]]
    known_bad: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @cached_property
    def label_table(self) -> NDArray[np.uint8]:
        """Raw value -> train id, shape (256,): IGNORE for void, ILLEGAL for values that do not occur."""
        table = np.full(256, ILLEGAL, np.uint8)
        for raw, train in self.raw_to_train.items():
            table[raw] = train
        return table

    def pairs(self, root: Path, split: str) -> list[Sample]:
        """The samples of a split, in order of name. Raises DataError that lists every missing counterpart."""
        samples, problems = self.scan(RawTree.open(root), split)
        if problems:
            raise DataError(problems)
        return samples


def match(images: Mapping[str, RawFile], labels: Mapping[str, RawFile]) -> tuple[list[Sample], list[str]]:
    """Pair images and labels of the same name; a problem for each that lacks its counterpart."""
    samples = [Sample(name, images[name], labels[name]) for name in sorted(images.keys() & labels.keys())]
    problems = [f"{images[name]}: this image has no label" for name in sorted(images.keys() - labels.keys())]
    problems += [f"{labels[name]}: this label has no image" for name in sorted(labels.keys() - images.keys())]
    return samples, problems


def find_reader(name: str) -> Reader:
    """The reader called `name`: of the package, of the study's plugins/ or of an entry point.

    Raises ParamsError for an unknown name and for a plugin that assigns something else.
    """
    known = sources("readers")
    if name not in known:
        raise ParamsError(f"reader: unknown reader {name!r}; choose from {', '.join(known)}")
    found = known[name].load()
    if not isinstance(found, Reader) or found.name != name:
        raise ParamsError(f"{known[name].path}: READER must be a Reader whose name is {name!r}")
    return found
