"""A part of the training images as the split that is scored."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoclock.data.packing.packed import PackedSplit
from isoclock.data.packing.prepare import prepare
from isoclock.data.packing.unlabelled import raw_splits
from isoclock.data.readers.cityscapes import READER
from isoclock.errors import DataError
from isoclock.params.schema import Dataset
from isoclock.params.variants import HeldOut

ENTRY = Dataset.model_validate(
    {"reader": "cityscapes", "root": "", "train": "train", "val": "val", "provenance": {"*": "ours"}}
)


def names(
    root: Path, out: Path, share: float | None = None, seed: int = 0, labelled: int | None = None
) -> dict[str, list[str]]:
    """Names of the images of each split."""
    entry = ENTRY if share is None else ENTRY.holding_out("streets", HeldOut(share, seed))
    index = prepare(
        READER, root, out, splits=raw_splits(entry), labelled_images=labelled,
        held_out=entry.held_out, held_out_seed=entry.held_out_seed or 0,
    )  # fmt: skip
    return {split: PackedSplit(out, split).names for split in index.splits}


def test_it_is_a_part_of_train_which_is_not_trained_on(streets: Path, tmp_path: Path) -> None:
    whole, part = names(streets, tmp_path / "whole"), names(streets, tmp_path / "part", 0.3)
    assert len(part["val"]) == round(0.3 * len(whole["train"]))
    assert sorted(part["train"] + part["val"]) == whole["train"]
    assert not set(part["val"]) & set(whole["val"])
    assert all(PackedSplit(tmp_path / "part", "val").labelled)


def test_the_seed_selects_it(streets: Path, tmp_path: Path) -> None:
    found = [names(streets, tmp_path / str(seed), 0.3, seed)["val"] for seed in range(4)]
    assert names(streets, tmp_path / "again", 0.3, 2)["val"] == found[2]
    assert len(set(map(tuple, found))) > 1


def test_hidden_labels_stay_hidden(streets: Path, tmp_path: Path) -> None:
    whole = names(streets, tmp_path / "whole", labelled=4)
    part = names(streets, tmp_path / "part", 0.5, labelled=4)
    assert sorted(part["train"] + part["val"]) == whole["train"], "those that have labels"
    assert part["unlabelled"] == whole["unlabelled"]


def test_nothing_may_be_left_to_train_on(streets: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"held_out is 0\.99, and split train has only 6 images; choose a smaller share"
    ):
        names(streets, tmp_path / "out", 0.99)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"held_out": 0.2}, "val is 'val', but held_out scores a part of train; set val to 'train'"),
        ({"held_out_seed": 1}, "held_out_seed selects the images of held_out, which is not given"),
        ({"val": "train", "held_out": 1.0}, "less than 1"),
    ],
)
def test_a_mistake_in_an_entry(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Dataset.model_validate(ENTRY.model_dump(exclude_none=True) | changes)
