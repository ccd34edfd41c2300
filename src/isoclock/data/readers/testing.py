"""Test a reader against the contract of `isoclock.data.readers.reader.Reader`, inside or outside this repository.

In a test module, one test for each check:

    from isoclock.data.readers.testing import ReaderContract

    class TestMeadow(ReaderContract):
        reader = "meadow"
        root = "data/meadow"    # without it, only the classes are checked
        splits = ("train", "val")

Without pytest: `check_reader("meadow", "data/meadow", ("train", "val"))`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from isoclock.data.readers.reader import Reader, find_reader, reader_of
from isoclock.testing import Check, Contract, run_checks

if TYPE_CHECKING:
    from isoclock.params.schema import Dataset

SAMPLES = 8  # of each split that are decoded


class Subject:
    """A reader with raw data that it is tested on; `root` None checks its classes alone.

    `entry` is that of the data set, for a reader that takes its classes from there.
    """

    def __init__(
        self, name: str, root: Path | str | None = None, splits: Sequence[str] = (), entry: Dataset | None = None
    ) -> None:
        self.name, self.entry = name, entry
        self.root = None if root is None else Path(root)
        self.splits = tuple(splits)

    def found(self) -> Reader:
        """The reader that `reader: <name>` in params/datasets.yaml stands for."""
        return find_reader(self.name) if self.entry is None else reader_of(self.entry)


def check_name(subject: Subject) -> None:
    """The reader has the name of its file or entry point."""
    assert subject.found().name == subject.name, f"name is {subject.found().name!r}, not {subject.name!r}"


def check_classes(subject: Subject) -> None:
    """Class names and colours are unique and as many."""
    reader = subject.found()
    _nothing_wrong_with(reader, "classes", "palette")
    assert len(set(reader.palette)) == reader.num_classes, "a colour occurs twice"


def check_label_values(subject: Subject) -> None:
    """Raw label values are 8-bit, and map to every train id, to IGNORE, and to nothing else."""
    reader = subject.found()
    _nothing_wrong_with(reader, "raw_to_train")
    assert (reader.label_table.shape, reader.label_table.dtype) == ((256,), np.uint8), "label_table is malformed"


def _nothing_wrong_with(reader: Reader, *fields: str) -> None:
    # find_reader refuses such a reader, but a test may make one in another way.
    wrong = [problem for problem in reader.problems() if problem.startswith(fields)]
    assert not wrong, "; ".join(wrong)


def check_splits(subject: Subject) -> None:
    """Every split has samples, in order of name and without problems, whose images and labels can be packed."""
    from isoclock.data.packing.verify import verify  # OpenCV, which checks of the classes do not need

    for split in subject.splits:
        assert subject.root is not None, "splits are given and root is not"
        samples = subject.found().pairs(subject.root, split)
        names = [sample.name for sample in samples]
        assert names, f"split {split} has no sample"
        assert names == sorted(set(names)), f"names of split {split} are not unique or not in order"
        for sample in samples[:: max(1, len(samples) // SAMPLES)]:
            _, problems = verify(subject.found(), sample, None, "raw")
            assert not problems, "; ".join(problems)


CHECKS: tuple[Check, ...] = (check_name, check_classes, check_label_values, check_splits)


def check_reader(
    name: str, root: Path | str | None = None, splits: Sequence[str] = (), entry: Dataset | None = None
) -> None:
    """Run every check on the reader called `name`, on `splits` of the raw data below `root` too if they are given.

    `entry` is that of the data set, for a reader that takes its classes from there (such as `folder`). Raises AssertionError
    at the first check that fails, DataError if files of a split do not fit together.
    """
    run_checks(name, CHECKS, Subject(name, root, splits, entry))


class ReaderContract(Contract):
    """A base class for pytest: name the reader, and where its raw data are; each check is a test of its own."""

    checks = CHECKS
    reader: ClassVar[str]
    root: ClassVar[Path | str | None] = None
    splits: ClassVar[Sequence[str]] = ()
    entry: ClassVar[Dataset | None] = None

    @property
    def subject(self) -> Subject:
        """The reader with its raw data."""
        return Subject(self.reader, self.root, self.splits, self.entry)
