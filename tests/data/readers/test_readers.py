from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from isoclock.cli.main import main
from isoclock.data.readers import ade20k, camvid, cityscapes
from isoclock.data.readers.reader import Reader, find_reader
from isoclock.data.readers.testing import ReaderContract, check_reader
from isoclock.discovery import sources
from isoclock.errors import EXIT_USER_ERROR, DataError, ParamsError
from isoclock.labels import IGNORE, ILLEGAL
from tiny_study import TinyStudy, edit


class TestCityscapes(ReaderContract):
    reader = "cityscapes"

    def test_it_reads_streets(self, streets: Path) -> None:
        check_reader("cityscapes", streets, ("train", "val"))


class TestCamVid(ReaderContract):
    reader = "camvid"


class TestADE20K(ReaderContract):
    reader = "ade20k"


class TestVOC(ReaderContract):
    reader = "voc"


class TestCOCOStuff(ReaderContract):
    reader = "coco_stuff"


def test_every_reader_of_the_package_is_tested() -> None:
    assert set(sources("readers")) == {"cityscapes", "camvid", "ade20k", "voc", "coco_stuff", "folder"}


def test_unknown_reader_lists_the_known() -> None:
    with pytest.raises(ParamsError, match=r"unknown reader 'kitti'; choose from ade20k, camvid"):
        find_reader("kitti")


GOOD = Reader(
    name="two",
    classes=("a", "b"),
    palette=((0, 0, 0), (0, 0, 1)),
    raw_to_train={0: 0, 1: 1, 255: IGNORE},
    scan=lambda root, split: ([], []),
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"raw_to_train": {0: 0, 1: 2}}, "1 maps to 2; must be a train id, 0 to 1, or IGNORE"),
        ({"raw_to_train": {0: 0, 1: -1}}, "1 maps to -1"),
        ({"raw_to_train": {0: 0, 1: "1"}}, "1 maps to '1'"),
        ({"raw_to_train": {0: 0, 1: True}}, "1 maps to True"),
        ({"raw_to_train": {0: 0, 1: 254}}, "1 maps to 254"),
        ({"raw_to_train": {0: 0, 1: 1, 256: 0}}, "has the value 256, outside 0 to 255"),
        ({"raw_to_train": {0: 0, 1: 1, -1: 255}}, "has the value -1"),
        ({"raw_to_train": {0: 0, 1: 0}}, r"maps nothing to some classes \(b\)"),
        ({"raw_to_train": {0: 255}}, "everything is void"),
        ({"raw_to_train": {}}, "everything is void"),
        ({"classes": ("a", "a")}, "the class name 'a' occurs twice"),
        ({"classes": ()}, "0 entries"),
        ({"classes": ("a", "")}, "must be 1 to 253 names"),
        ({"palette": ((0, 0, 0),)}, "1 colours for 2 classes"),
        ({"palette": ((0, 0, 0), (0, 0, 256))}, r"\(0, 0, 256\) is not a colour"),
        ({"palette": ((0, 0, 0), (0, 0))}, r"\(0, 0\) is not a colour"),
    ],
    ids=str,
)
def test_a_reader_that_cannot_work_is_refused(change: dict[str, Any], words: str) -> None:
    assert GOOD.problems() == []
    assert re.search(words, "; ".join(replace(GOOD, **change).problems()))


def test_check_refuses_a_reader_with_an_id_that_does_not_exist(
    plugin_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(plugin_study.folder)
    path = plugin_study.folder / "plugins" / "readers" / "roads.py"
    edit(path, "min(train, 1)", "min(train, 2)")
    assert main(["check"]) == EXIT_USER_ERROR
    assert "plugins/readers/roads.py: raw_to_train: " in capsys.readouterr().err


def test_cityscapes_agrees_with_its_own_scripts() -> None:
    labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    trained = sorted((label.trainId, label.name, label.color) for label in labels if 0 <= label.trainId < 19)
    reader = cityscapes.READER
    assert [(k, *pair) for k, pair in enumerate(zip(reader.classes, reader.palette, strict=True))] == trained
    for label in labels:
        if label.id >= 0:
            assert reader.label_table[label.id] == label.trainId
    assert (reader.label_table[34:] == ILLEGAL).all()


# SegNet-Tutorial's Scripts/test_segmentation_camvid.py: its classes in the order of the label values, with their colours.
SEGNET = (
    ("Sky", (128, 128, 128)),
    ("Building", (128, 0, 0)),
    ("Pole", (192, 192, 128)),
    ("Road", (128, 64, 128)),
    ("Pavement", (60, 40, 222)),
    ("Tree", (128, 128, 0)),
    ("SignSymbol", (192, 128, 128)),
    ("Fence", (64, 64, 128)),
    ("Car", (64, 0, 128)),
    ("Pedestrian", (64, 64, 0)),
    ("Bicyclist", (0, 128, 192)),
    ("Unlabelled", (0, 0, 0)),
)
CAMVID = Path(__file__).parents[4] / "shared" / "data" / "camvid"


def test_camvid_has_the_tutorials_classes_and_unlabelled_is_ignored() -> None:
    reader = camvid.READER
    for value, (name, colour) in enumerate(SEGNET):
        train_id = reader.label_table[value]
        if name == "Unlabelled":
            assert train_id == IGNORE
        else:
            assert reader.classes[train_id].replace(" ", "") == name.lower()
            assert reader.palette[train_id] == colour
    assert (reader.label_table[len(SEGNET) :] == ILLEGAL).all()


@pytest.mark.skipif(not CAMVID.is_dir(), reason="no CamVid at ../shared/data/camvid")
def test_camvid_labels_have_plausible_positions() -> None:
    """Published labels contain only the tutorial's values, and their positions and sizes match the class names."""
    rows: dict[str, list[float]] = {name: [] for name, _ in SEGNET}
    pixels = dict.fromkeys(rows, 0)
    for path in sorted((CAMVID / "trainannot").glob("*.png"))[::20]:
        label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert label is not None
        assert label.ndim == 2
        assert label.max() < len(SEGNET)
        for value, (name, _) in enumerate(SEGNET):
            found = np.nonzero(label == value)[0]
            pixels[name] += len(found)
            if len(found):
                rows[name].append(float(found.mean()) / label.shape[0])
    place = {name: float(np.mean(found)) for name, found in rows.items() if found}
    assert place["Sky"] < place["Building"] < place["Car"] < place["Road"]
    assert place["Tree"] < place["Pavement"]
    assert min(pixels["Road"], pixels["Building"]) > max(pixels["Pole"], pixels["Pedestrian"], pixels["Bicyclist"])


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


def test_only_splits_without_published_fine_labels_are_unlabelled(tmp_path: Path) -> None:
    for split in ("train_extra", "train"):
        path = tmp_path / "leftImg8bit" / split / "ulm" / "ulm_1_leftImg8bit.png"
        path.parent.mkdir(parents=True)
        path.touch()
    assert cityscapes.READER.pairs(tmp_path, "train_extra")[0].label_path is None
    with pytest.raises(DataError, match="unpack gtFine"):
        cityscapes.READER.pairs(tmp_path, "train")


def test_ade20k_has_its_150_classes() -> None:
    reader = ade20k.READER
    assert len(set(reader.classes)) == len(set(reader.palette)) == reader.num_classes == 150
    assert [reader.classes[k] for k in (0, 8, 66, 130, 149)] == ["wall", "windowpane", "flower", "screen", "flag"]
    assert [reader.palette[k] for k in (0, 6, 149)] == [(120, 120, 120), (140, 140, 140), (92, 0, 255)]
    assert reader.label_table[0] == IGNORE
    assert reader.label_table[1:151].tolist() == list(range(150))
    assert (reader.label_table[151:] == ILLEGAL).all()


def test_files_in_the_wrong_folder_are_reported(tmp_path: Path) -> None:
    cities, scenes = tmp_path / "cityscapes", tmp_path / "ade20k"
    for path in (
        cities / "leftImg8bit/train_extra/bonn/ulm_000000_000019_leftImg8bit.png",
        cities / "leftImg8bit/train_extra/ulm/ulm_000000_000019_leftImg8bit.png",
        scenes / "images/training/ADE_val_00000001.jpg",
        scenes / "annotations/training/ADE_val_00000001.png",
        scenes / "images/training/._ADE_train_00000001.jpg",  # created by a file manager
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    testing = scenes / "images/testing/ADE_test_00000001.jpg"
    testing.parent.mkdir()
    testing.touch()
    (sample,) = ade20k.READER.pairs(scenes, "testing")
    assert sample.label_path is None, "that split is published without labels"
    with pytest.raises(DataError, match="does not start with its city, bonn"):
        cityscapes.READER.pairs(cities, "train_extra")
    with pytest.raises(DataError) as caught:
        ade20k.READER.pairs(scenes, "training")
    assert len(caught.value.problems) == 1
    assert "does not start with ADE_train_" in caught.value.problems[0]
