"""Names in other spellings, files that are in the way, and links to files that do not exist."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import miniatures
import numpy as np
import pytest

from isoclock.data.packing.doubts import unused_kinds
from isoclock.data.packing.packed import PackedSplit
from isoclock.data.packing.prepare import prepare
from isoclock.data.png import png_bytes
from isoclock.data.readers import ade20k, camvid, cityscapes
from isoclock.data.readers.rawtree import RawTree
from isoclock.errors import DataError

SPLITS = {"train": "train", "val": "val"}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A CamVid folder with 3 training and 2 validation images."""
    miniatures.unpacked(miniatures.camvid(tmp_path), tmp_path)
    return tmp_path / "CamVid"


def packed(raw: Path) -> tuple[dict[str, bytes], list[str]]:
    """The packed pixels, and the notes."""
    out, notes = raw.parent / "out", []
    prepare(camvid.READER, raw, out, splits=SPLITS, report=notes.append)
    return {path.name: path.read_bytes() for path in out.glob("*.u8")}, notes


def test_names_match_in_any_case_and_unicode_form(raw: Path) -> None:
    before, notes = packed(raw)
    assert notes == []
    (raw / "trainannot").rename(raw / "TrainAnnot")
    for folder, form in (("train", "NFC"), ("TrainAnnot", "NFD")):
        paths = sorted((raw / folder).iterdir())
        paths[0].rename(paths[0].with_name(unicodedata.normalize(form, "0001TP_Straße ä.png")))
        paths[1].rename(paths[1].with_suffix(".PNG" if form == "NFC" else ".Png"))
    names = [path.name for folder in ("train", "TrainAnnot") for path in (raw / folder).iterdir()]
    assert len({name.casefold() for name in names}) > 3, "the file system keeps Unicode forms apart"
    after, notes = packed(raw)
    assert notes == []
    assert {name: sorted(content) for name, content in before.items()} == {
        name: sorted(content) for name, content in after.items()
    }
    assert len(PackedSplit(raw.parent / "out", "train")) == 3


def test_other_readers_match_in_any_case(tmp_path: Path) -> None:
    streets, scenes = tmp_path / "streets", tmp_path / "scenes"
    for path in (
        streets / "leftImg8bit/TRAIN/Ulm/ulm_000000_000019_LEFTIMG8BIT.PNG",
        streets / "gtFine/train/ulm/ulm_000000_000019_gtFine_labelIds.png",
        scenes / "images/training/ade_train_00000001.JPG",
        scenes / "annotations/training/ADE_train_00000001.png",
    ):
        path.parent.mkdir(parents=True)
        path.touch()
    for reader, root, split in ((cityscapes.READER, streets, "train"), (ade20k.READER, scenes, "training")):
        (sample,) = reader.pairs(root, split)
        assert sample.image_path.is_file()  # type: ignore[union-attr]
        assert sample.label_path is not None


def test_a_folder_without_any_usable_file_is_counted(tmp_path: Path) -> None:
    for name in ("bonn/bonn_1_leftImg8bit.jpeg", "ulm/ulm_1_leftImg8bit.png"):
        path = tmp_path / "leftImg8bit" / "train_extra" / name
        path.parent.mkdir(parents=True)
        path.touch()
    tree = RawTree.open(tmp_path)
    cityscapes.READER.scan(tree, "train_extra")
    assert unused_kinds(tree) == ["1 *.jpeg (leftImg8bit/train_extra/bonn/bonn_1_leftImg8bit.jpeg)"]


def test_two_names_that_differ_only_in_case_are_refused(raw: Path) -> None:
    name = next((raw / "train").iterdir())
    name.with_name(name.name.lower()).write_bytes(name.read_bytes())
    with pytest.raises(DataError, match="only in case or Unicode form; rename or remove one"):
        packed(raw)


def test_files_that_are_not_used_are_counted(raw: Path) -> None:
    content = next((raw / "train").iterdir()).read_bytes()
    for path in ("train/._a.png", "train/b.jpeg", "train/c.jpeg", "train/README", "valannot/notes.txt"):
        (raw / path).write_bytes(content)
    for folder in (".Trash-1000", "__MACOSX", ".git"):
        (raw / folder / "train").mkdir(parents=True)
        (raw / folder / "train" / "d.png").write_bytes(content)
    (raw / "other").mkdir()
    (raw / "other" / "e.jpeg").write_bytes(content)
    os.mkfifo(raw / "train" / "pipe.png")
    (raw / "train" / "old").symlink_to("nowhere")
    (raw / "loop").symlink_to(raw)
    (line,) = packed(raw)[1]
    assert line.startswith(f"{raw}: files that are not used, in the folders of the data set: ")
    assert set(line.partition("set: ")[2].replace(", ...", "").split(", ")) == {
        "2 *.jpeg (train/b.jpeg)",
        "1 without extension (train/README)",
        "1 *.txt (valannot/notes.txt)",
        "3 hidden or of a file manager (.Trash-1000)",
        "1 pipes",
        "sockets or devices (train/pipe.png)",
        "1 links to files that do not exist (train/old)",
    }
    assert len(PackedSplit(raw.parent / "out", "train")) == 3


def test_a_folder_and_a_pipe_with_the_name_of_an_archive_are_none(raw: Path) -> None:
    before, _ = packed(raw)
    (raw / "a.zip").mkdir()
    os.mkfifo(raw / "b.zip")
    assert packed(raw) == (before, [])


def test_a_dangling_link_is_one_line_that_mentions_dvc(raw: Path) -> None:
    images = sorted((raw / "train").iterdir())[:2]
    for image in images:
        image.unlink()
        image.symlink_to(f"/nowhere/{image.name}")
    with pytest.raises(DataError) as caught:
        packed(raw)
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [str(image) for image in images]
    assert all("a link to /nowhere/" in problem and "dvc pull" in problem for problem in caught.value.problems)


@pytest.mark.parametrize("place", ["valannot", "."])
def test_a_dangling_folder_is_one_line(raw: Path, place: str) -> None:
    link = raw / place
    link.rename(raw.parent / "moved")
    link.symlink_to("/nowhere")
    with pytest.raises(DataError) as caught:
        packed(raw)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{link}: a link to /nowhere")


def test_two_links_to_one_folder_are_both_followed(raw: Path) -> None:
    for folder in ("train", "trainannot"):
        (raw / folder).rename(raw.parent / folder)
        for name in (folder, folder.replace("train", "again")):
            (raw / name).symlink_to(raw.parent / folder)
    assert len(camvid.READER.pairs(raw, "train")) == len(camvid.READER.pairs(raw, "again")) == 3


def test_git_lfs_pointers_are_named(raw: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 10\n"
    image = next((raw / "val").iterdir())
    image.write_bytes(pointer)
    with pytest.raises(DataError, match=f"{image.name}: a git-lfs pointer .*git lfs pull"):
        packed(raw)
    (raw / "more.ZIP").write_bytes(pointer)
    with pytest.raises(DataError, match=r"more.ZIP: a git-lfs pointer instead of the archive .*git lfs pull"):
        RawTree.open(raw)


def test_a_folder_named_like_an_archive_is_no_archive(raw: Path) -> None:
    (raw / "old.zip").mkdir()
    assert packed(raw)[1] == []


def test_a_pipe_as_root_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="neither a folder nor an archive"):
        RawTree.open(tmp_path / "pipe")


def test_what_cannot_be_learned_or_scored_is_reported(raw: Path) -> None:
    for folder, value in (("trainannot", 3), ("valannot", 4)):
        for path in (raw / folder).iterdir():
            path.write_bytes(png_bytes(np.full(miniatures.SIZE, value, np.uint8)))
    out = raw.parent / "out"
    assert packed(raw)[1] == [f"{out}: classes that occur in val but not in the labels of train: pavement"]
    for path in (raw / "valannot").iterdir():
        path.write_bytes(png_bytes(np.full(miniatures.SIZE, 11, np.uint8)))
    assert packed(raw)[1] == [
        f"{out}: split val: all labels are void, so nothing can be scored; are these the labels of reader camvid?"
    ]
