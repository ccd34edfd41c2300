"""A prepared data set, as training and scoring see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from isoclock.data.loading.stream import TrainingStream, whole_images
from isoclock.data.packing.packed import INDEX, PackedSplit, read_index
from isoclock.data.readers.reader import UNLABELLED
from isoclock.files import sha256_file
from isoclock.params.schema import Recipe
from isoclock.records.index import Index


@dataclass(frozen=True)
class PreparedData:
    """The folder that `isoclock prepare` makes, and its index."""

    folder: Path
    index: Index

    @classmethod
    def open(cls, folder: Path) -> PreparedData:
        """Read the index. Raises ArtifactError if the data set is not prepared, or by an older isoclock."""
        return cls(folder, read_index(folder))

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

    def samples(self, recipe: Recipe) -> int:
        """Number of samples that a run by `recipe` draws from: what indices in its batches stay below."""
        return self.train_images + (self.unlabelled_images if recipe.unlabelled_per_batch else 0)

    @property
    def class_pixels(self) -> list[int]:
        """Pixels of each class in the training split, which has labels."""
        return list(self.index.splits["train"].class_pixels)

    def training_batches(
        self, recipe: Recipe, seed: int, *, start: int = 0, iterations: int | None = None
    ) -> TrainingStream:
        """Batches of a run, a function of (seed, global index), from iteration `start` on."""
        return TrainingStream(
            PackedSplit(self.folder, "train"),
            seed=seed,
            batch=recipe.batch,
            crop=recipe.crop,
            scale=recipe.scale,
            flip=recipe.flip,
            colour=recipe.colour,
            unlabelled=PackedSplit(self.folder, UNLABELLED) if recipe.unlabelled_per_batch else None,
            unlabelled_per_batch=recipe.unlabelled_per_batch,
            start_iteration=start,
            iterations=iterations,
            workers=recipe.workers,
        )

    def validation_images(self, recipe: Recipe) -> Iterator[tuple[Tensor, NDArray[np.uint8], str]]:
        """Whole images (1,3,H,W) float32, normalised as in training, with label (H,W) uint8 and name."""
        return whole_images(PackedSplit(self.folder, "val"), colour=recipe.colour)
