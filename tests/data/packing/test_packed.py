from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import miniatures
import numpy as np
import pytest

from isoclock.data.packing.packed import PackedSplit
from isoclock.data.packing.prepare import prepare
from isoclock.data.readers import ade20k
from isoclock.data.readers.cityscapes import READER
from isoclock.errors import ArtifactError, DataError


def test_window_is_a_read_only_view(train_split: PackedSplit) -> None:
    image, label = train_split.window(3, 5, 7, 11, 13)
    np.testing.assert_array_equal(image, train_split.image(3)[5:16, 7:20])
    np.testing.assert_array_equal(label, train_split.label(3)[5:16, 7:20])
    assert not image.flags.writeable


def test_memory_maps_are_not_pickled(train_split: PackedSplit) -> None:
    train_split.image(0)
    pickled = pickle.dumps(train_split)
    assert len(pickled) < 10_000
    np.testing.assert_array_equal(pickle.loads(pickled).image(5), train_split.image(5))


def test_damaged_files_are_rejected(packed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    content = bytearray((copy / "train.images.u8").read_bytes())
    content[100] ^= 1
    (copy / "train.images.u8").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.images\.u8"):
        PackedSplit(copy, "train").verify()
    PackedSplit(copy, "val").verify()
    (copy / "train.images.u8").write_bytes(content[:-1])
    (copy / "train.labels.u8").unlink()
    with pytest.raises(DataError) as caught:
        PackedSplit(copy, "train")
    assert len(caught.value.problems) == 2
    with pytest.raises(DataError, match="no split 'test'"):
        PackedSplit(copy, "test")
    with pytest.raises(ArtifactError, match="isoclock prepare"):
        PackedSplit(tmp_path, "train")


@pytest.fixture(scope="module")
def as_jpeg(streets: Path, tmp_path_factory: pytest.TempPathFactory) -> PackedSplit:
    """The tiny set's training split, stored as JPEG."""
    folder = tmp_path_factory.mktemp("jpeg") / "streets"
    prepare(READER, streets, folder, splits={"train": "train"}, storage="jpeg")
    return PackedSplit(folder, "train")


def test_jpeg_keeps_labels_and_changes_pixels_little(train_split: PackedSplit, as_jpeg: PackedSplit) -> None:
    assert (as_jpeg.names, as_jpeg.sizes, as_jpeg.labelled) == (
        train_split.names,
        train_split.sizes,
        train_split.labelled,
    )
    for i in range(len(as_jpeg)):
        np.testing.assert_array_equal(as_jpeg.label(i), train_split.label(i))
        assert (as_jpeg.image(i).shape, as_jpeg.image(i).dtype) == (train_split.image(i).shape, np.uint8)
        change = np.abs(as_jpeg.image(i).astype(int) - train_split.image(i))
        assert 0 < change.mean() < 5  # generated scenes are noisier than photographs
    assert as_jpeg._files["images"].bytes < train_split._files["images"].bytes / 2


def test_jpeg_windows_are_those_of_the_image_and_read_only(as_jpeg: PackedSplit) -> None:
    image, label = as_jpeg.window(3, 5, 7, 11, 13)
    np.testing.assert_array_equal(image, as_jpeg.image(3)[5:16, 7:20])
    np.testing.assert_array_equal(label, as_jpeg.label(3)[5:16, 7:20])
    assert not image.flags.writeable
    assert not label.flags.writeable
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(as_jpeg)).image(5), as_jpeg.image(5))


def test_jpeg_files_of_a_data_set_are_kept_as_they_are(tmp_path: Path) -> None:
    archive = miniatures.ade20k(tmp_path)
    splits = {"train": "training", "val": "validation"}
    for storage in ("raw", "jpeg"):
        prepare(ade20k.READER, archive, tmp_path / storage, splits=splits, storage=storage)  # type: ignore[arg-type]
    raw, jpeg = (PackedSplit(tmp_path / storage, "train") for storage in ("raw", "jpeg"))
    for i in range(len(raw)):
        np.testing.assert_array_equal(raw.image(i), jpeg.image(i))
    stored = (tmp_path / "jpeg" / "train.images.jpegs").read_bytes()
    samples = ade20k.READER.pairs(archive, "training")
    assert stored == b"".join(sample.image_path.read_bytes() for sample in samples)
    jpeg.verify()
    (tmp_path / "jpeg" / "train.images.jpegs").write_bytes(stored[:-1] + b"x")
    with pytest.raises(DataError, match=r"train\.images\.jpegs: not the file"):
        jpeg.verify()


def test_another_schema_is_reported(packed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    index = (copy / "index.json").read_text()
    (copy / "index.json").write_text(index.replace('"schema": 2', '"schema": 1'))
    output = r"index\.json: schema: 1, but this version of isoclock reads schema 2; remove it and run `isoclock prepare copy` again"
    with pytest.raises(ArtifactError, match=output):
        PackedSplit(copy, "train")
