"""Reader `folder`: patterns, classes and splits of an entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import miniatures
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from isoclock.data.packing.packed import PackedSplit
from isoclock.data.packing.prepare import prepare
from isoclock.data.packing.unlabelled import raw_splits
from isoclock.data.readers.reader import reader_of
from isoclock.data.readers.testing import ReaderContract, check_reader
from isoclock.errors import DataError
from isoclock.labels import IGNORE
from isoclock.params.schema import Dataset

BY_FOLDER = {"images": "images/{split}/*.jpg", "labels": "masks/{split}/*.png"}
MEADOW = {"classes": {"grass": 0, "water": [1, 4], "path": 2}, "void": 255}
FLAT = {"images": "images/*/*.jpg", "labels": "masks/*/*.png"}
COLOURS = {"classes": {"grass": "#5AA03c", "water": ["#3c6ebe", "#1e3c78"], "path": "#beaa82"}, "void": "#000000"}


def entry(folder: dict[str, Any], **changes: Any) -> Dataset:
    """An entry with reader `folder`; the classes are those of `meadow` unless others are given."""
    whole = {"reader": "folder", "root": "", "train": "train", "val": "val", "provenance": {"*": "ours"}}
    classes = {} if "classes" in folder else MEADOW
    return Dataset.model_validate(whole | {"folder": classes | folder} | changes)


def packed(root: Path, out: Path, dataset: Dataset) -> dict[str, PackedSplit]:
    prepare(reader_of(dataset), root, out, splits=raw_splits(dataset))
    return {split: PackedSplit(out, split) for split in raw_splits(dataset)}


def problems(root: Path, dataset: Dataset, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        reader_of(dataset).pairs(root, split)
    return "\n".join(caught.value.problems)


@pytest.fixture
def meadow(tmp_path: Path) -> Path:
    miniatures.meadow(tmp_path / "meadow")
    return tmp_path / "meadow"


class TestFolder(ReaderContract):
    reader = "folder"
    entry = entry(BY_FOLDER)


def test_the_contract_holds_on_files(meadow: Path) -> None:
    check_reader("folder")
    for folder in (BY_FOLDER, FLAT | {"val_share": 0.3}):
        check_reader("folder", meadow, ("train", "val"), entry(folder))


def test_folders_are_packed_with_the_values_of_the_entry(meadow: Path, tmp_path: Path) -> None:
    splits = packed(meadow, tmp_path / "out", entry(BY_FOLDER))
    assert splits["train"].names == [f"train{k}" for k in range(4)]
    assert splits["train"].classes == ["grass", "water", "path"]
    table = np.full(256, IGNORE, np.uint8)
    table[[0, 1, 2, 4]] = 0, 1, 2, 1
    for i in range(4):
        raw = np.asarray(Image.open(meadow / f"masks/train/train{i}.png"))
        np.testing.assert_array_equal(splits["train"].label(i), table[raw])
    merged = entry(BY_FOLDER | {"classes": {"all": [0, 1, 2, 4]}, "void": [255], "colours": {"all": "#010203"}})
    assert reader_of(merged).palette == ((1, 2, 3),)
    listed = reader_of(entry(BY_FOLDER | {"classes": ["a", "b"], "void": 255}))
    assert listed.raw_to_train == {0: 0, 1: 1, 255: IGNORE}


def test_a_value_that_the_entry_lacks_is_reported(meadow: Path, tmp_path: Path) -> None:
    lacking = entry(BY_FOLDER | {"classes": ["grass", "water", "path"]})
    with pytest.raises(DataError, match=r"train0.png: label values 4, 255, which the entry \(folder.classes"):
        packed(meadow, tmp_path / "out", lacking)


def test_labels_with_colours_in_every_kind_of_png(meadow: Path, tmp_path: Path) -> None:
    colours = np.array(
        [[0x5A, 0xA0, 0x3C], [0x3C, 0x6E, 0xBE], [0xBE, 0xAA, 0x82], [0x1E, 0x3C, 0x78], [0, 0, 0]], np.uint8
    )
    trains = np.array([0, 1, 2, 1, IGNORE], np.uint8)
    for i, kind in enumerate(("RGB", "P", "RGBA", "RGB")):
        path = meadow / f"masks/train/train{i}.png"
        which = miniatures.labels(i, 5, (40 + i, 60))
        image = Image.fromarray(colours[which])
        if kind == "P":
            image = Image.fromarray(which)
            image.putpalette(colours.ravel().tolist())
        image = image.convert(kind)
        image.save(path)
    for i in range(2):
        Image.fromarray(np.zeros((40 + i, 60), np.uint8)).save(meadow / f"masks/val/val{i}.png")  # grey: all void
    coloured = entry(BY_FOLDER | COLOURS)
    splits = packed(meadow, tmp_path / "out", coloured)
    for i in range(4):
        np.testing.assert_array_equal(splits["train"].label(i), trains[miniatures.labels(i, 5, (40 + i, 60))])
    assert (splits["val"].label(0) == IGNORE).all()
    assert reader_of(coloured).palette[:2] == ((0x5A, 0xA0, 0x3C), (0x3C, 0x6E, 0xBE)), "overlays have the first colour"
    check_reader("folder", meadow, ("train", "val"), coloured)

    pixels = colours[miniatures.labels(0, 5, (40, 60))]
    pixels[0, :6] = 1, 2, 3
    Image.fromarray(pixels).save(meadow / "masks/train/train0.png")
    with pytest.raises(DataError, match=r"train0.png: colours #010203 \(0.25% of its pixels\), which the entry"):
        packed(meadow, tmp_path / "again", coloured)
    with pytest.raises(DataError, match=r"or give colours as folder.classes of the entry"):
        packed(meadow, tmp_path / "again", entry(BY_FOLDER))


def test_lists_split_and_files_of_no_list_are_reported(meadow: Path, tmp_path: Path) -> None:
    (meadow / "lists").mkdir()
    (meadow / "lists/train.txt").write_text("# training\ntrain/train0\n\n./images/train/train2.jpg\nVAL1.jpg\n")
    (meadow / "lists/val.txt").write_text("train1\r\nval0\r\n")
    listed = entry(FLAT | {"lists": "lists/{split}.txt"})
    notes: list[str] = []
    prepare(reader_of(listed), meadow, tmp_path / "out", splits=raw_splits(listed), report=notes.append)
    assert PackedSplit(tmp_path / "out", "train").names == ["train/train0", "train/train2", "val/val1"]
    assert PackedSplit(tmp_path / "out", "val").names == ["train/train1", "val/val0"]
    for unused in ("1 *.jpg (images/train/train3.jpg)", "1 *.png (masks/train/train3.png)"):
        assert unused in notes[0]

    (meadow / "lists/train.txt").write_text("train0\ntrain0\ntrain1\nnothing\n")
    found = problems(meadow, listed)
    assert "train.txt: line 2: 'train0' is listed twice" in found
    assert "train.txt: line 4: 'nothing' is no image of folder.images" in found
    (meadow / "lists/train.txt").write_text("train0\ntrain1\n")
    assert "1 of its images are also in the list of val (train/train1)" in problems(meadow, listed)
    (meadow / "lists/val.txt").unlink()
    assert "lists/val.txt: not found" in problems(meadow, listed, "val")


def test_a_share_is_chosen_by_the_seed_and_hardly_moves(meadow: Path, tmp_path: Path) -> None:
    def split(seed: int) -> dict[str, set[str]]:
        reader = reader_of(entry(FLAT | {"val_share": 0.34, "split_seed": seed}))
        return {name: {sample.name for sample in reader.pairs(meadow, name)} for name in ("train", "val")}

    first = split(0)
    assert (len(first["train"]), len(first["val"])) == (4, 2)
    assert not first["train"] & first["val"]
    assert split(0) == first
    assert any(split(seed) != first for seed in range(1, 9))
    for kind, ending in (("images", "jpg"), ("masks", "png")):
        old = meadow / kind / "val" / f"val0.{ending}"
        (meadow / kind / "val" / f"new.{ending}").write_bytes(old.read_bytes())
    assert len(split(0)["val"] & first["val"]) >= 1
    (meadow / "masks/val/new.png").unlink()
    share = entry(FLAT | {"val_share": 0.34})
    with pytest.raises(DataError, match=r"new.jpg: this image has no label") as caught:
        packed(meadow, tmp_path / "out", share)
    assert len(caught.value.problems) == 1, "though it is in one split only, and both read all files"


def test_names_kinds_and_places_of_files(meadow: Path, tmp_path: Path) -> None:
    (meadow / "images/train/train0.jpg").rename(meadow / "images/train/TRAIN0.JPEG")
    any_kind = entry({"images": "images/{split}/*", "labels": "masks/{split}/*"})
    moved = tmp_path / "raw"
    moved.mkdir()
    meadow.rename(moved / "meadow-main")  # as an archive is unpacked
    names = [sample.name for sample in reader_of(any_kind).pairs(moved, "train")]
    assert names == ["TRAIN0", "train1", "train2", "train3"]
    for path in (moved / "meadow-main/masks/train").iterdir():
        path.rename(path.with_name(path.name.replace(".png", "_mask.png")))
    suffixed = entry({"images": "images/{split}/*", "labels": "masks/{split}/*_mask.png"})
    assert len(reader_of(suffixed).pairs(moved, "train")) == 4
    twin = moved / "meadow-main/images/train/train1.png"
    twin.write_bytes(miniatures.png(miniatures.photograph(0)))
    assert "train1.jpg: has the name of" in problems(moved, suffixed)


def test_missing_files_are_reported_with_the_pattern(meadow: Path) -> None:
    assert "images/train/*.tif: no such files; correct folder.images" in problems(
        meadow, entry(BY_FOLDER | {"images": "images/{split}/*.tif"})
    )
    assert "label/train/*.png: no such files; correct folder.labels" in problems(
        meadow, entry(BY_FOLDER | {"labels": "label/{split}/*.png"})
    )
    (meadow / "masks/train/train1.png").unlink()
    assert "train1.jpg: this image has no label" in problems(meadow, entry(BY_FOLDER))


def test_images_without_labels(meadow: Path, tmp_path: Path) -> None:
    (meadow / "images/extra").mkdir()
    (meadow / "images/extra/a.jpg").write_bytes((meadow / "images/train/train0.jpg").read_bytes())
    splits = packed(meadow, tmp_path / "out", entry(BY_FOLDER, unlabelled="extra"))
    assert splits["unlabelled"].names == ["a"]
    assert (splits["unlabelled"].label(0) == IGNORE).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": "images/*.jpg"}, "needs one of .* to tell train from val, and has none"),
        ({"val_share": 0.2}, "has `{split}` in images and val_share"),
        ({"images": "images/{split}/a.jpg"}, "images has 0 `\\*` and labels has 1"),
        ({"images": "images/**/{split}*.jpg"}, "`\\*\\*` is not supported"),
        ({"images": "/data/{split}/*.jpg"}, "must be a path below `root`"),
        ({"labels": "masks/{split}/*.jpg"}, "must end in .png"),
        ({"labels": "images/{split}/*.jpg"}, "the same pattern"),
        ({"split_seed": 1}, "split_seed selects the val_share, which is not given"),
        ({"classes": {"grass": 0, "water": 256}}, "water: 256: must be a value, 0 to 255, or a colour"),
        ({"classes": {"grass": 0, "water": "5aa03c"}}, "water: '5aa03c': must be a value"),
        ({"classes": {"grass": 0, "water": True}}, "water: True: must be a value"),
        ({"classes": {"grass": 0, "water": 0}}, "classes and void have 0 twice"),
        ({"classes": {"grass": 0, "water": []}}, "classes.water: has no value"),
        ({"classes": {"grass": "#000001"}}, "both values and colours"),
        ({"classes": {}}, "at least 1 item"),
        ({"classes": ["a", "a"]}, "the class name 'a' occurs twice"),
        ({"colours": {"grass": "#000001"}}, "colours.water: missing"),
        ({"colours": {"grass": "#000001", "water": "#000001", "path": "#000002"}}, "colours has '#000001' twice"),
        ({"colours": {"sea": "#000001"}}, "colours.sea: unknown class; choose from grass, water, path"),
        ({"lists": "lists/train.txt", "images": "images/*.jpg"}, "must have {split} and no"),
        ({"images": "images/*.jpg", "val_share": 0.1}, "labels has {split}, and images has not"),
    ],
    ids=str,
)
def test_an_entry_that_cannot_work_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        entry(BY_FOLDER | MEADOW | change)


def test_the_section_belongs_to_its_reader() -> None:
    with pytest.raises(ValidationError, match="folder: is read by reader `folder` only"):
        entry(BY_FOLDER, reader="camvid")
    with pytest.raises(ValidationError, match="folder: missing; add images, labels and classes"):
        Dataset.model_validate(entry(BY_FOLDER).model_dump(exclude={"folder"}))
    with pytest.raises(ValidationError, match=r"folder.val_share splits all images"):
        entry(FLAT | {"val_share": 0.2}, unlabelled="extra")


def test_the_order_of_classes_is_part_of_the_entry() -> None:
    one, other = ({"classes": {name: k for k, name in enumerate(names)}} for names in ("ab", "ba"))
    swapped = {"classes": dict(reversed(one["classes"].items()))}
    dumps = [
        entry(BY_FOLDER | classes | {"void": 255}).model_dump(mode="json")["folder"]
        for classes in (one, other, swapped)
    ]
    assert dumps[0] != dumps[1]
    assert dumps[0]["classes"] == [["a", [0]], ["b", [1]]]
    assert dumps[2]["classes"] == [["b", [1]], ["a", [0]]], "a stamp sorts the keys of a mapping"
