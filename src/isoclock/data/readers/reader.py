"""The contract of a data set. A new one is one file that assigns a `Reader` to `READER`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isoclock.data.readers.listing import folded
from isoclock.data.readers.rawtree import RawFile, RawTree
from isoclock.discovery import sources
from isoclock.errors import DataError, ParamsError, UserError
from isoclock.hints import choices
from isoclock.labels import IGNORE, ILLEGAL

if TYPE_CHECKING:
    from isoclock.params.schema import Dataset

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255 each."""


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

    Labels are PNG files that store values. With `label_colours` they store colours instead: colour k stands for value k.
    With `from_matlab` they may also be MATLAB files: it returns the values (H, W), or raises ValueError. With `from_entry`,
    classes and files are those of an entry of params/datasets.yaml: it returns the reader of that entry.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    raw_to_train: Mapping[int, int]
    scan: Callable[[RawTree, str], tuple[list[Sample], list[str]]]
    known_bad: Mapping[str, str] = field(default_factory=dict)
    label_colours: tuple[Colour, ...] = ()
    from_matlab: Callable[[bytes], NDArray[np.uint8]] | None = None
    from_entry: Callable[[Dataset], Reader] | None = None

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

    @cached_property
    def colour_table(self) -> NDArray[np.uint8]:
        """Colour (red * 65536 + green * 256 + blue) -> value, shape (2 ** 24,): IGNORE where no label colour."""
        table = np.full(1 << 24, IGNORE, np.uint8)
        for value, (red, green, blue) in enumerate(self.label_colours):
            table[red << 16 | green << 8 | blue] = value
        return table

    def unknown_problem(self, what: str) -> str:
        """What is wrong with a label that has values or colours (`what`) which the data set does not have."""
        where = "the entry (folder.classes, folder.void)" if self.name == "folder" else self.name
        return f"{what}, which {where} does not have"

    def problems(self) -> list[str]:
        """What is wrong with classes, palette and label values, one line each."""
        classes, colours = list(self.classes), list(self.palette)
        if not 0 < len(classes) < ILLEGAL or not all(isinstance(name, str) and name.strip() for name in classes):
            return [f"classes: {len(classes)} entries; must be 1 to {ILLEGAL - 1} names"]
        found = [f"classes: the class name {name!r} occurs twice" for name in sorted(_repeated(classes))]
        if len(colours) != len(classes):
            found.append(f"palette: {len(colours)} colours for {len(classes)} classes; give one for each")
        wrong = [colour for colour in colours if not _is_colour(colour)]
        if wrong:
            found.append(f"palette: {wrong[0]!r} is not a colour; must be three integers of 0 to 255 (RGB)")
        legal = {*range(len(classes)), IGNORE}
        for raw, train in self.raw_to_train.items():
            if not _is_integer(raw) or not 0 <= raw <= 255:
                found.append(f"raw_to_train: has the value {raw!r}, outside 0 to 255")
            if not _is_integer(train) or train not in legal:
                found.append(
                    f"raw_to_train: {raw!r} maps to {train!r}; must be a train id, 0 to {len(classes) - 1}, or IGNORE ({IGNORE})"
                )
        used = {train for train in self.raw_to_train.values() if _is_integer(train)}
        if not used - {IGNORE}:
            found.append("raw_to_train: everything is void; map values to train ids")
        elif missing := [name for train, name in enumerate(classes) if train not in used]:
            found.append(
                f"raw_to_train: maps nothing to some classes ({', '.join(missing)}); every class needs a value"
            )
        return found

    def pairs(self, root: Path, split: str) -> list[Sample]:
        """The samples of a split, in order of name. Raises DataError that lists every missing counterpart."""
        tree = RawTree.open(root)
        samples, problems = self.scan(tree, split)
        tree.check_links()
        if problems:
            raise DataError(problems)
        return samples


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_colour(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and len(value) == 3
        and all(_is_integer(part) and 0 <= part <= 255 for part in value)
    )


def _repeated(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def match(images: Mapping[str, RawFile], labels: Mapping[str, RawFile]) -> tuple[list[Sample], list[str]]:
    """Pair images and labels of the same name, in any case and Unicode form; a problem for each without a counterpart."""
    named = {folded(name): name for name in labels}
    pairs = {name: named[folded(name)] for name in sorted(images) if folded(name) in named}
    samples = [Sample(name, images[name], labels[label]) for name, label in pairs.items()]
    problems = [f"{images[name]}: this image has no label" for name in sorted(images.keys() - pairs.keys())]
    problems += [f"{labels[name]}: this label has no image" for name in sorted(labels.keys() - set(pairs.values()))]
    return samples, problems


def index_colour(index: int) -> Colour:
    """A colour for each index of 0 to 255, all different: those of the PASCAL VOC devkit, from the bits of the index."""
    red, green, blue = (sum((index >> 3 * bit + channel & 1) << 7 - bit for bit in range(3)) for channel in range(3))
    return red, green, blue


def reader_of(dataset: Dataset) -> Reader:
    """The reader of a data set, with the classes and files of its entry if the reader takes them from there.

    Raises ParamsError as `find_reader` does.
    """
    found = find_reader(dataset.reader)
    return found if found.from_entry is None else found.from_entry(dataset)


def find_reader(name: str) -> Reader:
    """The reader called `name`: of the package, of the study's plugins/ or of an entry point.

    Raises ParamsError for an unknown name, for a plugin that assigns something else, and for a reader whose classes, palette
    or label values are wrong.
    """
    known = sources("readers")
    if name not in known:
        raise ParamsError(f"reader: unknown reader {name!r}; {choices(name, known)}")
    found = known[name].load()
    if not isinstance(found, Reader) or found.name != name:
        raise ParamsError(f"{known[name].path}: READER must be a Reader whose name is {name!r}")
    if problems := found.problems():
        raise ParamsError([f"{known[name].path}: {problem}" for problem in problems])
    return found


def reader_problems(names: Iterable[str]) -> list[str]:
    """What is wrong with the readers called `names`, which are loaded for it. One line each."""
    problems: list[str] = []
    for name in sorted(names):
        try:
            find_reader(name)
        except UserError as error:
            problems += error.problems
    return problems
