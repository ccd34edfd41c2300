from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from isoclock.data.packing.packed import PackedSplit, read_index
from isoclock.data.packing.prepare import prepare
from isoclock.data.png import png_bytes
from isoclock.data.readers import camvid
from isoclock.data.readers.cityscapes import READER
from isoclock.errors import DataError
from isoclock.files import sha256_file

CAMVID = Path(__file__).parents[4] / "shared" / "data" / "camvid"
SPLITS = {"train": "train", "val": "val"}


def test_packed_pixels_are_the_decoded_ones(streets: Path, packed: Path) -> None:
    for split in SPLITS:
        part = PackedSplit(packed, split)
        for i, sample in enumerate(READER.pairs(streets, split)):
            assert part.names[i] == sample.name
            np.testing.assert_array_equal(part.image(i), cv2.imread(str(sample.image_path))[..., ::-1])
            raw = cv2.imread(str(sample.label_path), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(part.label(i), READER.label_table[raw])


def test_the_index_has_digests_and_counts(packed: Path) -> None:
    index = read_index(packed)
    part, split = index.splits["train"], PackedSplit(packed, "train")
    labels = np.concatenate([split.label(i).ravel() for i in range(6)])
    assert part.images == 6
    assert part.class_pixels == [int((labels == k).sum()) for k in range(19)]
    assert part.void_pixels == int((labels == 255).sum())
    assert sum(part.class_frequency) == pytest.approx(1)
    assert part.mean_rgb == pytest.approx(np.concatenate([split.image(i).reshape(-1, 3) for i in range(6)]).mean(0))
    for entry in part.files.values():
        assert sha256_file(packed / entry.file) == entry.sha256
    assert index.verification.pairs == 12


def test_workers_do_not_change_a_byte(streets: Path, packed: Path, tmp_path: Path) -> None:
    prepare(READER, streets, tmp_path / "one", splits=SPLITS, workers=1)
    assert {path.name: path.read_bytes() for path in packed.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()
    }


def test_all_problems_are_reported_together_and_nothing_is_written(streets: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    shutil.copytree(streets, raw)
    samples = READER.pairs(raw, "train")
    images, labels = [s.image_path for s in samples], [s.label_path for s in samples]
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:5_000])
    images[2].write_bytes(b"not an image")
    labels[3].write_bytes(png_bytes(np.full((64, 128), 77, np.uint8)))
    labels[4].write_bytes(png_bytes(np.zeros((32, 128), np.uint8)))
    labels[5].write_bytes(png_bytes(np.zeros((64, 128, 3), np.uint8)))
    with pytest.raises(DataError) as caught:
        prepare(READER, raw, out, splits=SPLITS, workers=2)
    reported = {
        path: [p for p in caught.value.problems if p.startswith(str(path))]
        for path in (labels[0], *images[1:3], *labels[3:])
    }
    expected = ("no image", "cut off", "neither PNG", "77", "32x128", "one 8-bit channel")
    assert len(caught.value.problems) == len(expected)
    for (path, problems), words in zip(reported.items(), expected, strict=True):
        assert len(problems) == 1, path
        assert words in problems[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_a_failed_attempt_keeps_the_previous_result(streets: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    shutil.copytree(streets, raw)
    prepare(READER, raw, out, splits=SPLITS)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    READER.pairs(raw, "val")[0].image_path.unlink()
    with pytest.raises(DataError, match="has no image"):
        prepare(READER, raw, out, splits=SPLITS)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_images_of_any_size_and_resizing(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split, sizes in (("train", [(20, 30), (31, 17)]), ("val", [(8, 8)])):
        for k, size in enumerate(sizes):
            for folder, pixels in (
                (split, random.integers(0, 256, (*size, 3))),
                (f"{split}annot", random.integers(0, 12, size)),
            ):
                (tmp_path / "raw" / folder).mkdir(parents=True, exist_ok=True)
                (tmp_path / "raw" / folder / f"{k}.png").write_bytes(png_bytes(pixels.astype(np.uint8)))
    prepare(camvid.READER, tmp_path / "raw", tmp_path / "own", splits=SPLITS)
    own = PackedSplit(tmp_path / "own", "train")
    assert own.sizes == [(20, 30), (31, 17)]
    assert own.image(1).shape == (31, 17, 3)
    index = prepare(camvid.READER, tmp_path / "raw", tmp_path / "small", splits=SPLITS, size=(10, 15))
    small = PackedSplit(tmp_path / "small", "train")
    assert index.resize == (10, 15)
    assert small.sizes == [(10, 15)] * 2
    np.testing.assert_array_equal(small.label(0), own.label(0)[1::2, 1::2])
    labels = np.concatenate([small.label(i).ravel() for i in range(2)])
    assert index.splits["train"].class_pixels == [int((labels == k).sum()) for k in range(11)]


@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not on this machine")
def test_camvid_is_valid(tmp_path: Path) -> None:
    index = prepare(camvid.READER, CAMVID, tmp_path / "camvid", splits=SPLITS, size=(90, 120), workers=2)
    assert [index.splits[split].images for split in SPLITS] == [367, 101]
    assert index.verification.raw_values == list(range(12))


def test_names_that_are_not_utf8(streets: Path, tmp_path: Path) -> None:
    raw = shutil.copytree(streets, tmp_path / "raw")
    image = READER.pairs(raw, "train")[0].image_path
    assert isinstance(image, Path)
    image.with_name("notes\udcff.txt").touch()
    notes: list[str] = []
    prepare(READER, raw, tmp_path / "out", splits=SPLITS, report=notes.append)
    assert "1 *.txt" in notes[0]
    for path in list(raw.rglob(image.name.replace("leftImg8bit.png", "*"))):
        path.rename(path.with_name(path.name.replace("_", "_\udcff", 1)))
    with pytest.raises(
        DataError, match=r"\\udcff.*_leftImg8bit.png: its name is not UTF-8 text; rename the file"
    ) as caught:
        prepare(READER, raw, tmp_path / "out", splits=SPLITS)
    assert len(caught.value.problems) == 1
