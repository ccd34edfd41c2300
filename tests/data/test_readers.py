from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isoclock.catalogue import readers
from isoclock.data import camvid, cityscapes
from isoclock.data.reader import IGNORE, ILLEGAL, find_reader
from isoclock.errors import DataError, ParamsError


@pytest.mark.parametrize("name", sorted(readers()))
def test_reader_contract(name: str) -> None:
    reader = find_reader(name)
    table = reader.label_table
    assert reader.name == name
    assert len(set(reader.classes)) == reader.num_classes == len(reader.palette)
    assert len(set(reader.palette)) == reader.num_classes
    assert (table.shape, table.dtype) == ((256,), np.uint8)
    assert set(table.tolist()) == set(range(reader.num_classes)) | {IGNORE, ILLEGAL}


def test_unknown_reader_lists_the_known() -> None:
    with pytest.raises(ParamsError, match=r"'kitti'.*camvid, cityscapes"):
        find_reader("kitti")


def test_cityscapes_agrees_with_its_own_scripts() -> None:
    labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    trained = sorted((label.trainId, label.name, label.color) for label in labels if 0 <= label.trainId < 19)
    reader = cityscapes.READER
    assert [(k, *pair) for k, pair in enumerate(zip(reader.classes, reader.palette, strict=True))] == trained
    for label in labels:
        if label.id >= 0:
            assert reader.label_table[label.id] == label.trainId
    assert (reader.label_table[34:] == ILLEGAL).all()


def test_camvid_void_is_ignored() -> None:
    assert camvid.READER.label_table[:13].tolist() == [*range(11), IGNORE, ILLEGAL]


def test_pairs_of_a_tree(streets: Path) -> None:
    samples = cityscapes.READER.pairs(streets, "val")
    assert len(samples) == 6
    assert [sample.name for sample in samples] == sorted(sample.name for sample in samples)
    assert all(sample.image_path.is_file() and sample.label_path.is_file() for sample in samples)


def test_every_missing_counterpart_is_listed(tmp_path: Path) -> None:
    for name in ("train/a.png", "train/b.png", "trainannot/b.png", "trainannot/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(DataError) as caught:
        camvid.READER.pairs(tmp_path, "train")
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [
        "this image has no label",
        "this label has no image",
    ]
    with pytest.raises(DataError, match=r"no \*\.png"):
        camvid.READER.pairs(tmp_path, "val")


def test_images_without_fine_labels_are_unlabelled_only_where_cityscapes_has_none(tmp_path: Path) -> None:
    for split in ("train_extra", "train"):
        path = tmp_path / "leftImg8bit" / split / "ulm" / "ulm_1_leftImg8bit.png"
        path.parent.mkdir(parents=True)
        path.touch()
    assert cityscapes.READER.pairs(tmp_path, "train_extra")[0].label_path is None
    with pytest.raises(DataError, match="unpack gtFine"):
        cityscapes.READER.pairs(tmp_path, "train")
