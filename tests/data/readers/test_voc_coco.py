"""PASCAL VOC with SBD, and both versions of COCO-Stuff, on small copies of their files."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import miniatures
import numpy as np
import pytest

from isoclock.data.packing.packed import PackedSplit
from isoclock.data.packing.prepare import prepare
from isoclock.data.readers import coco_stuff, voc
from isoclock.data.readers.matlab import matrix
from isoclock.data.readers.testing import check_reader
from isoclock.errors import DataError
from isoclock.labels import IGNORE, ILLEGAL

VOC = miniatures.VOC


def test_the_readers_meet_the_contract(tmp_path: Path) -> None:
    miniatures.voc(tmp_path / "voc")
    check_reader("voc", tmp_path / "voc", ("train", "val", "trainval", "train_aug"))
    miniatures.coco_stuff(tmp_path / "coco")
    check_reader("coco_stuff", tmp_path / "coco", ("train2017", "val2017"))
    miniatures.coco_stuff_10k(tmp_path / "coco-10k")
    check_reader("coco_stuff", tmp_path / "coco-10k", ("train", "test"))


def test_train_aug_is_train_and_sbd_without_val(tmp_path: Path) -> None:
    miniatures.voc(tmp_path)
    samples = {sample.name: sample for sample in voc.READER.pairs(tmp_path, "train_aug")}
    assert set(samples) == {*VOC["train"], *VOC["sbd"]}
    kinds = {name: sample.label_path.suffix for name, sample in samples.items() if isinstance(sample.label_path, Path)}
    assert kinds == dict.fromkeys(VOC["train"], ".png") | dict.fromkeys(VOC["sbd"], ".mat"), "VOC's own label if any"
    assert [sample.name for sample in voc.READER.pairs(tmp_path, "val")] == list(VOC["val"])


def test_labels_of_voc_and_sbd_are_packed(tmp_path: Path) -> None:
    miniatures.voc(tmp_path / "raw")
    index = prepare(voc.READER, tmp_path / "raw", tmp_path / "out", splits={"train": "train_aug", "val": "val"})
    split = PackedSplit(tmp_path / "out", "train")
    numbers = {name: number for number, name in enumerate(name for names in VOC.values() for name in names)}
    for i, name in enumerate(split.names):
        expected = miniatures.labels(numbers[name], 21)
        if name in VOC["train"]:
            expected[:2] = 255
        np.testing.assert_array_equal(split.label(i), expected)
    assert index.classes[:2] == ["background", "aeroplane"]
    assert index.palette[:3] == [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    assert (index.palette[15], index.palette[20]) == ((192, 128, 128), (0, 64, 128))


def test_sbd_in_the_form_that_mmsegmentation_makes(tmp_path: Path) -> None:
    miniatures.voc(tmp_path / "raw")
    converted = tmp_path / "raw/VOCdevkit/VOC2012/SegmentationClassAug"
    converted.mkdir()
    for path in (tmp_path / "raw/benchmark_RELEASE").rglob("*.mat"):
        values = matrix(path.read_bytes(), "GTcls", "Segmentation")
        (converted / f"{path.stem}.png").write_bytes(miniatures.png(values))
    splits = {"train": "train_aug", "val": "val"}
    made = []
    for gone in ("", "benchmark_RELEASE"):
        if gone:
            shutil.rmtree(tmp_path / "raw" / gone)
        prepare(voc.READER, tmp_path / "raw", tmp_path / f"out{gone}", splits=splits)
        made.append((tmp_path / f"out{gone}" / "train.labels.u8").read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("VOCdevkit/VOC2012/JPEGImages", "JPEGImages/.*no such files; unpack VOCtrainval_11-May-2012.tar"),
        ("benchmark_RELEASE", "cls/.*no such files; unpack benchmark.tgz"),
        ("VOCdevkit/VOC2012/JPEGImages/2008_000002.jpg", "2008_000002.mat: this label has no image"),
        ("VOCdevkit/VOC2012/SegmentationClass/2007_000039.png", "2007_000039.jpg: this image has no label"),
    ],
)
def test_what_is_missing_of_voc_is_reported(tmp_path: Path, gone: str, words: str) -> None:
    miniatures.voc(tmp_path)
    path = tmp_path / gone
    path.unlink() if path.is_file() else shutil.rmtree(path)
    with pytest.raises(DataError, match=words):
        voc.READER.pairs(tmp_path, "train_aug")
    with pytest.raises(DataError, match="has no split 'test'; choose from train, val, trainval, train_aug"):
        voc.READER.pairs(tmp_path, "test")


def test_a_damaged_matlab_file_is_reported(tmp_path: Path) -> None:
    miniatures.voc(tmp_path / "raw")
    path = tmp_path / "raw/benchmark_RELEASE/dataset/cls/2008_000002.mat"
    content = path.read_bytes()
    for damaged, words in (
        (content[:-30], "2008_000002.mat: cannot be read"),
        (b"\x89PNG", "2008_000002.mat: neither PNG nor JPEG"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=words):
            prepare(voc.READER, tmp_path / "raw", tmp_path / "out", splits={"train": "train_aug", "val": "val"})
    with pytest.raises(ValueError, match="GTcls is not a matrix of numbers"):
        matrix(content, "GTcls")


def test_coco_stuff_has_171_classes_and_both_versions_agree(tmp_path: Path) -> None:
    reader = coco_stuff.READER
    assert (reader.num_classes, len(set(reader.classes))) == (171, 171)
    assert [reader.classes[k] for k in (0, 11, 79, 80, 170)] == ["person", "stop sign", "toothbrush", "banner", "wood"]
    unused = [11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90]  # of mmsegmentation's coco_stuff164k.py
    assert np.flatnonzero(reader.label_table == ILLEGAL).tolist() == [*unused, *range(182, 255)]
    assert reader.label_table[[0, 10, 12, 89, 91, 181, 255]].tolist() == [0, 10, 11, 79, 80, 170, IGNORE]
    miniatures.coco_stuff(tmp_path / "164k")
    miniatures.coco_stuff_10k(tmp_path / "10k")
    for version, splits in (
        ("164k", {"train": "train2017", "val": "val2017"}),
        ("10k", {"train": "train", "val": "test"}),
    ):
        prepare(reader, tmp_path / version, tmp_path / "out" / version, splits=splits)
    large, small = (PackedSplit(tmp_path / "out" / version, "train") for version in ("164k", "10k"))
    assert (len(large), len(small)) == (3, 2)
    for i in range(2):
        np.testing.assert_array_equal(large.label(i), small.label(i))
    raw = miniatures.COCO_VALUES[miniatures.labels(1, len(miniatures.COCO_VALUES))]
    np.testing.assert_array_equal(large.label(1), cv2.LUT(raw, reader.label_table))


def test_coco_stuff_in_folders_beside_files_of_mmsegmentation(tmp_path: Path) -> None:
    *images, stuff = sorted(miniatures.coco_stuff(tmp_path), key=lambda path: path.name.startswith("stuff"))
    for archive in images:
        miniatures.unpacked(archive, tmp_path / "images")
    miniatures.unpacked(stuff, tmp_path / "annotations")
    for archive in (*images, stuff):
        archive.unlink()
    path = tmp_path / "annotations/val2017/000000000000.png"
    shutil.copy(path, path.with_name("000000000000_labelTrainIds.png"))
    assert len(coco_stuff.READER.pairs(tmp_path, "val2017")) == 2
    path.unlink()
    with pytest.raises(DataError, match=r"000000000000.jpg: this image has no label"):
        coco_stuff.READER.pairs(tmp_path, "val2017")


def test_what_is_missing_of_coco_stuff_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split 'val'; choose from train2017, val2017, train, test"):
        coco_stuff.READER.pairs(tmp_path, "val")
    with pytest.raises(DataError, match=r"train2017/\*.png: no such files; put train2017.zip and stuffthingmaps"):
        coco_stuff.READER.pairs(tmp_path, "train2017")
    archive = miniatures.coco_stuff_10k(tmp_path)
    miniatures.unpacked(archive, tmp_path / "all")
    archive.unlink()
    (tmp_path / "all/imageLists/test.txt").write_text("COCO_train2014_000000000002\nCOCO_train2014_000000000009\n")
    with pytest.raises(DataError, match="COCO_train2014_000000000009 of split test is missing; put cocostuff-10k"):
        coco_stuff.READER.pairs(tmp_path, "test")
