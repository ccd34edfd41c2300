from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from isoclock.data.packing.packed import PackedSplit
from isoclock.data.readers.cityscapes import READER
from isoclock.data.streets.make import CITIES, make_streets, render
from isoclock.errors import DataError
from isoclock.labels import ILLEGAL

DIGEST = "e162768dc9a6ba5868a9daaad051449c176c147151d6d82e85e23e3266f33c32"
"""Digest of the tiny set. Studies compare results on it: changing it makes a new data set, to be listed in CHANGELOG.md."""


def tree_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.png")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def test_the_same_bytes_on_every_machine(streets: Path) -> None:
    assert tree_digest(streets) == DIGEST


def test_processes_do_not_change_the_bytes(streets: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make_streets(tmp_path / "two", train=6, val=6, size=(64, 128), workers=2, progress=lambda *at: seen.append(at))
    assert tree_digest(tmp_path / "two") == tree_digest(streets)
    assert seen == [(done, 12) for done in range(1, 13)]


def test_every_class_occurs_in_a_tiny_set(packed: Path) -> None:
    for split in ("train", "val"):
        part = PackedSplit(packed, split)
        present = set(np.unique(np.concatenate([part.label(i).ravel() for i in range(len(part))]))) - {255}
        # Persons may be hidden in six small scenes, but not in the full set.
        assert present >= set(range(19)) - {READER.classes.index("person"), READER.classes.index("fence")}


def test_seeds_and_splits_differ_and_labels_are_legal() -> None:
    scenes = [render(*key, (32, 64)) for key in ((0, "train", 0), (1, "train", 0), (0, "val", 0), (0, "train", 1))]
    assert len({rgb.tobytes() for rgb, _ in scenes}) == len(scenes)
    for rgb, label in scenes:
        assert (rgb.shape, label.shape, rgb.dtype, label.dtype) == ((32, 64, 3), (32, 64), np.uint8, np.uint8)
        assert (READER.label_table[label] != ILLEGAL).all()


def test_colour_alone_does_not_give_the_class(packed: Path) -> None:
    split = PackedSplit(packed, "train")
    rgb = np.concatenate([split.image(i).reshape(-1, 3) for i in range(6)]).astype(float)
    label = np.concatenate([split.label(i).ravel() for i in range(6)])
    means = np.stack([rgb[label == k].mean(0) if (label == k).any() else np.full(3, 1e9) for k in range(19)])
    nearest = ((rgb[:, None] - means) ** 2).sum(-1).argmin(1)
    assert (nearest == label)[label != 255].mean() < 0.5


def test_cities_of_train_and_val_are_disjoint(streets: Path) -> None:
    assert not set(CITIES["train"]) & set(CITIES["val"])
    assert json.loads((streets / "streets.json").read_text()) == {"seed": 0, "train": 6, "val": 6, "size": [64, 128]}


def test_only_generated_files_are_replaced(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    make_streets(own, train=2, val=1, size=(32, 64))
    make_streets(own, train=1, val=1, size=(32, 64))
    assert len(list(own.rglob("*leftImg8bit.png"))) == 2
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="other"):
        make_streets(other, train=1, val=1, size=(32, 64))
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]
