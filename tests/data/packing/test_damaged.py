"""Damaged JPEG images are refused; the message has the line of YAML that accepts them."""

from __future__ import annotations

from pathlib import Path

import miniatures
import numpy as np
import pytest
import yaml

from isoclock.data.loading.pixels import decode_rgb
from isoclock.data.packing.packed import PackedSplit, read_index
from isoclock.data.packing.prepare import prepare
from isoclock.data.readers.ade20k import READER
from isoclock.errors import DataError
from isoclock.params.schema.datasets import Dataset

SPLITS = {"train": "training", "val": "validation"}


@pytest.fixture
def damaged(tmp_path: Path) -> list[Path]:
    """Two training images with an end marker in the middle; the data set is at `tmp_path`/raw."""
    miniatures.unpacked(miniatures.ade20k(tmp_path), tmp_path / "raw")
    paths = sorted((tmp_path / "raw").rglob("ADE_train_*.jpg"))[:2]
    for path in paths:
        content = bytearray(path.read_bytes())
        middle = (content.index(b"\xff\xda") + len(content)) // 2
        content[middle : middle + 2] = b"\xff\xd9"
        path.write_bytes(content)
    return paths


def test_the_printed_line_accepts_exactly_these_files(damaged: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        prepare(READER, tmp_path / "raw", tmp_path / "out", splits=SPLITS)
    *lines, remedy = caught.value.problems
    assert [line.split(": ")[0] for line in lines] == [str(path) for path in damaged]
    assert all("damaged (" in line for line in lines)
    assert not (tmp_path / "out").exists()
    names = yaml.safe_load(remedy.partition("params/datasets.yaml: ")[2])["accept_damaged"]
    assert names == [path.stem for path in damaged]

    prepare(READER, tmp_path / "raw", tmp_path / "out", splits=SPLITS, accept_damaged=names)
    assert read_index(tmp_path / "out").verification.accepted_damaged == names
    np.testing.assert_array_equal(PackedSplit(tmp_path / "out", "train").image(0), decode_rgb(damaged[0].read_bytes()))
    with pytest.raises(DataError, match=f"{damaged[1].name}: damaged"):
        prepare(READER, tmp_path / "raw", tmp_path / "one", splits=SPLITS, accept_damaged=names[:1])
    with pytest.raises(DataError, match="accept_damaged: unknown sample 'x'"):
        prepare(READER, tmp_path / "raw", tmp_path / "one", splits=SPLITS, accept_damaged=["x"])


def test_a_label_must_not_be_a_jpeg(damaged: list[Path], tmp_path: Path) -> None:
    label = next((tmp_path / "raw").rglob("ADE_val_*.png"))
    label.write_bytes(damaged[0].read_bytes())
    with pytest.raises(DataError, match=f"{label.name}: a label must be a PNG file"):
        prepare(READER, tmp_path / "raw", tmp_path / "out", splits=SPLITS)


def test_entries_without_the_key_keep_their_stamps() -> None:
    entry = Dataset(reader="ade20k", root="x", train="a", val="b", provenance={"*": "ours"})
    assert not {"accept_damaged", "white_16bit", "max_pixels"} & set(entry.model_dump())
