"""Images without labels: which they are, and that their labels are never read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from isoclock.data.loading.prepared import PreparedData
from isoclock.data.loading.stream import TrainingStream
from isoclock.data.packing.packed import PackedSplit
from isoclock.data.packing.prepare import prepare
from isoclock.data.packing.unlabelled import raw_splits
from isoclock.data.readers.reader import find_reader
from isoclock.errors import DataError
from isoclock.params.schema import Dataset

COLOUR = [{"transform": "Normalize"}]
TRAIN = 6  # images of the raw training split


def dataset(**changes: object) -> Dataset:
    entry = {"reader": "cityscapes", "root": "", "train": "train", "val": "val", "provenance": {"*": "ours"}}
    return Dataset.model_validate(entry | changes)


def packed(root: Path, out: Path, **changes: object) -> PreparedData:
    entry = dataset(**changes)
    labels = {"labelled_images": entry.labelled_images, "labelled_seed": entry.labelled_seed or 0}
    prepare(find_reader(entry.reader), root, out, splits=raw_splits(entry), **labels)
    return PreparedData.open(out)


def names(data: PreparedData, split: str) -> list[str]:
    return PackedSplit(data.folder, split).names


@pytest.fixture
def with_extra(streets: Path, tmp_path: Path) -> Path:
    """The tiny set with three more images that have no labels."""
    root = tmp_path / "raw"
    shutil.copytree(streets, root)
    for path in sorted((root / "leftImg8bit/val").rglob("*.png"))[:3]:
        new = root / "leftImg8bit/train_extra/town" / f"town_{path.name}"
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, new)
    return root


def test_by_default_no_split_is_unlabelled(streets: Path, tmp_path: Path) -> None:
    data = packed(streets, tmp_path / "out")
    assert data.images == {"labelled": TRAIN, "unlabelled": 0}
    assert set(data.index.splits) == {"train", "val"}


def test_hidden_labels_move_their_images_to_a_split_of_their_own(streets: Path, tmp_path: Path) -> None:
    whole = packed(streets, tmp_path / "whole")
    data = packed(streets, tmp_path / "out", labelled_images=2)
    assert data.images == {"labelled": 2, "unlabelled": TRAIN - 2}
    known, hidden = names(data, "train"), names(data, "unlabelled")
    assert sorted(known + hidden) == names(whole, "train")
    assert names(data, "val") == names(whole, "val")
    split = PackedSplit(data.folder, "unlabelled")
    assert not any(split.labelled)
    assert all((split.label(i) == 255).all() for i in range(len(split)))
    # Pixel counts, from which class weights are computed, are those of the labelled images.
    seen = PackedSplit(data.folder, "train")
    counts = sum(np.bincount(seen.label(i).ravel(), minlength=256)[:19] for i in range(2))
    assert data.class_pixels == counts.tolist()


def test_the_seed_chooses(streets: Path, tmp_path: Path) -> None:
    chosen = {
        seed: names(packed(streets, tmp_path / str(seed), labelled_images=3, labelled_seed=seed), "train")
        for seed in range(4)
    }
    assert names(packed(streets, tmp_path / "again", labelled_images=3), "train") == chosen[0]
    assert len({tuple(found) for found in chosen.values()}) > 1


def test_unlabelled_images_follow_the_hidden_ones(with_extra: Path, tmp_path: Path) -> None:
    assert packed(with_extra, tmp_path / "a", unlabelled="train_extra").images == {"labelled": TRAIN, "unlabelled": 3}
    both = packed(with_extra, tmp_path / "b", unlabelled="train_extra", labelled_images=4)
    assert both.images == {"labelled": 4, "unlabelled": 2 + 3}


def test_more_labelled_images_than_images_is_an_error(streets: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=rf"labelled_images is 6, but split train has only {TRAIN} images; choose fewer"
    ):
        packed(streets, tmp_path / "out", labelled_images=TRAIN)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", ["train", "val"])
def test_train_and_val_cannot_be_the_unlabelled_split(split: str) -> None:
    with pytest.raises(ValueError, match=f"unlabelled is '{split}'"):
        dataset(unlabelled=split)


def test_a_seed_without_labelled_images_is_an_error() -> None:
    with pytest.raises(ValueError, match="labelled_seed"):
        dataset(labelled_seed=3)


@pytest.fixture
def mixed(streets: Path, tmp_path: Path) -> PreparedData:
    """Two labelled images, four without."""
    return packed(streets, tmp_path / "mixed", labelled_images=2)


def stream(data: PreparedData, unlabelled: int = 3, **changes: object) -> TrainingStream:
    arguments: dict = {"seed": 1, "batch": 4, "crop": (32, 48), "scale": (0.5, 2.0), "flip": 0.5, "colour": COLOUR}
    arguments |= {"iterations": 8, "unlabelled_per_batch": unlabelled} | changes
    if unlabelled:
        arguments["unlabelled"] = PackedSplit(data.folder, "unlabelled")
    return TrainingStream(PackedSplit(data.folder, "train"), **arguments)


def test_a_mixed_batch_says_which_samples_have_labels(mixed: PreparedData) -> None:
    for batch in stream(mixed):
        assert batch["labelled"].tolist() == [True, False, False, False]
        assert (batch["target"][1:] == 255).all()
        assert (batch["target"][0] != 255).any()


def test_labelled_and_unlabelled_images_are_shuffled_separately(mixed: PreparedData) -> None:
    batches = list(stream(mixed))
    known = torch.cat([batch["index"][:1] for batch in batches]).tolist()
    others = torch.cat([batch["index"][1:] for batch in batches]).tolist()
    assert [sorted(known[at : at + 2]) for at in range(0, 8, 2)] == [[0, 1]] * 4
    assert [sorted(others[at : at + 4]) for at in range(0, 24, 4)] == [[2, 3, 4, 5]] * 6
    assert len({tuple(others[at : at + 4]) for at in range(0, 24, 4)}) > 1


@pytest.mark.parametrize(("start", "workers"), [(0, 2), (5, 0), (5, 1)])
def test_mixed_batches_are_a_function_of_seed_and_number(mixed: PreparedData, start: int, workers: int) -> None:
    whole = list(stream(mixed))[start:]
    again = list(stream(mixed, start_iteration=start, iterations=8 - start, workers=workers))
    assert len(again) == len(whole)
    for one, other in zip(whole, again, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_target_of_an_unlabelled_sample_is_ignored_whatever_is_packed(mixed: PreparedData) -> None:
    split = PackedSplit(mixed.folder, "train")
    split.labelled = [False] * len(split)
    arguments: dict = {"seed": 1, "batch": 4, "crop": (32, 48), "scale": (1.0, 1.0), "flip": 0.0, "colour": COLOUR}
    for batch in TrainingStream(split, **arguments, iterations=4):
        assert (batch["target"] == 255).all()
