from __future__ import annotations

from pathlib import Path

import pytest

from isoclock.data.packing.packed import PackedSplit
from isoclock.data.packing.prepare import prepare
from isoclock.data.readers.cityscapes import READER
from isoclock.data.streets.make import make_streets

SIZE = (64, 128)
SPLITS = {"train": "train", "val": "val"}


@pytest.fixture(scope="session")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny generated set: 6 train and 6 val scenes of 64 x 128 pixels. Read only."""
    folder = tmp_path_factory.mktemp("raw") / "streets"
    make_streets(folder, train=6, val=6, size=SIZE)
    return folder


@pytest.fixture(scope="session")
def packed(streets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny set, prepared. Read only."""
    folder = tmp_path_factory.mktemp("prepared") / "streets"
    prepare(READER, streets, folder, splits=SPLITS, workers=2)
    return folder


@pytest.fixture
def train_split(packed: Path) -> PackedSplit:
    return PackedSplit(packed, "train")
