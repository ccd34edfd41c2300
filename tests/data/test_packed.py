from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from isoclock.data.packed import PackedSplit
from isoclock.errors import ArtifactError, DataError


def test_window_is_a_read_only_view(train_split: PackedSplit) -> None:
    image, label = train_split.window(3, 5, 7, 11, 13)
    np.testing.assert_array_equal(image, train_split.image(3)[5:16, 7:20])
    np.testing.assert_array_equal(label, train_split.label(3)[5:16, 7:20])
    assert not image.flags.writeable


def test_it_travels_without_its_maps(train_split: PackedSplit) -> None:
    train_split.image(0)
    travelled = pickle.dumps(train_split)
    assert len(travelled) < 10_000
    np.testing.assert_array_equal(pickle.loads(travelled).image(5), train_split.image(5))


def test_damaged_results_are_refused(packed: Path, tmp_path: Path) -> None:
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
