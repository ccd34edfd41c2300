"""The progress file: what it says, and that damage makes it say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoclock.runner.progress_file import ProgressFile


def test_what_was_written_last_is_read(tmp_path: Path) -> None:
    file = ProgressFile(tmp_path)
    assert file.read() is None
    file.write(20, 1.23456)
    file.write(21, 2.0)
    assert ProgressFile(tmp_path).read() == (21, 2.0)


@pytest.mark.parametrize(
    "content",
    [b"", b"20", b"20 1.5 7", b"x 1.5", b"20 nan", b"20 inf", b"-1 1.5", b"20 -1.5", b"\xff 1", b"9" * 5000 + b" 1"],
)
def test_damage_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "progress").write_bytes(content)
    assert ProgressFile(tmp_path).read() is None
