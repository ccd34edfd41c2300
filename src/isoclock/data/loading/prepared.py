"""A prepared data set, as training and scoring see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isoclock.data.packing.packed import INDEX, PackedSplit, read_index
from isoclock.errors import ArtifactError, DataError
from isoclock.files import sha256_file
from isoclock.labels import UNLABELLED
from isoclock.records.index import Index

if TYPE_CHECKING:
    from isoclock.digests import Digests
    from isoclock.params.schema import Recipe


@dataclass(frozen=True)
class PreparedData:
    """The folder that `isoclock prepare` makes, and its index."""

    folder: Path
    index: Index

    @classmethod
    def open(cls, folder: Path) -> PreparedData:
        """Read the index. Raises ArtifactError if the data set is not prepared, or by an older isoclock."""
        index = read_index(folder)
        if "train" not in index.splits:
            raise ArtifactError(f"{folder / INDEX}: splits.train: missing; run `isoclock prepare {folder.name}` again")
        return cls(folder, index)

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in order of train id."""
        return list(self.index.classes)

    @property
    def digest(self) -> str:
        """SHA-256 of the index, which holds those of the packed files."""
        return sha256_file(self.folder / INDEX)

    @property
    def train_images(self) -> int:
        """Number of images to train on with labels."""
        return self.index.splits["train"].images

    @property
    def unlabelled_images(self) -> int:
        """Number of images to train on without labels."""
        return self.index.splits[UNLABELLED].images if UNLABELLED in self.index.splits else 0

    @property
    def images(self) -> dict[str, int]:
        """Number of `labelled` and of `unlabelled` images to train on."""
        return {"labelled": self.train_images, "unlabelled": self.unlabelled_images}

    @property
    def class_pixels(self) -> list[int]:
        """Pixels of each class in the training split, which has labels."""
        return list(self.index.splits["train"].class_pixels)

    def verify(self, splits: Iterable[str], kept: Digests) -> None:
        """Compare the files of some splits with the index. Raises DataError if one differs, or all are of another data set."""
        if self.index.dataset != self.folder.name:
            raise DataError(
                f"{self.folder / INDEX}: of data set {self.index.dataset}, so it was copied here; "
                f"run `isoclock prepare {self.folder.name}`"
            )
        for name in splits:
            self.split(name).verify(kept)

    def splits_of(self, recipe: Recipe) -> list[str]:
        """The splits that training with a recipe reads."""
        names = {"train": True, UNLABELLED: recipe.unlabelled_per_batch > 0, "val": recipe.evaluations > 0}
        return [name for name, is_read in names.items() if is_read]

    def split(self, name: str) -> PackedSplit:
        """One of its splits. Raises DataError if there is none of that name, or a file of it is missing or cut short."""
        return PackedSplit(self.folder, name)
