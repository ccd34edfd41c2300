"""The public checks of readers pass for a good one, and name what is wrong with a bad one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from isoclock.data.readers.testing import CHECKS, check_reader
from isoclock.errors import DataError
from isoclock.testing import name_of
from tiny_study import TinyStudy, edit

FAULTS = {
    "name": ('"roads",', '"road",', "READER must be a Reader whose name is 'roads'"),
    "classes": ("(70, 70, 70)", "(128, 64, 128)", "a colour occurs twice"),
    "label_values": ("min(train, 1)", "0", "maps nothing to some class"),
    "splits": ("CITYSCAPES.raw_to_train.items()", "CITYSCAPES.raw_to_train.items() if raw != 23", "label values 23"),
}


def test_a_good_reader_passes(plugin_study: TinyStudy, streets: Path) -> None:
    check_reader("roads")
    check_reader("roads", streets, ("train", "val"))


def test_there_is_a_fault_for_every_check() -> None:
    assert list(FAULTS) == [name_of(check) for check in CHECKS]


@pytest.mark.parametrize("check", FAULTS)
def test_a_fault_is_found(plugin_study: TinyStudy, streets: Path, check: str) -> None:
    old, new, message = FAULTS[check]
    edit(plugin_study.folder / "plugins" / "readers" / "roads.py", old, new)
    with pytest.raises(Exception, match=message) as caught:
        check_reader("roads", streets, ("train",))
    if isinstance(caught.value, AssertionError):
        assert str(caught.value).startswith(f"roads: {check}: ")


def test_a_missing_label_is_an_error(plugin_study: TinyStudy, streets: Path, tmp_path: Path) -> None:
    shutil.copytree(streets, tmp_path / "streets")
    next((tmp_path / "streets").rglob("*labelIds.png")).unlink()
    with pytest.raises(DataError, match="has no label"):
        check_reader("roads", tmp_path / "streets", ("train", "val"))
