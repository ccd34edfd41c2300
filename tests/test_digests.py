"""Kept digests: a file that did not change is not read again, and every change is noticed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from isoclock import digests
from isoclock.digests import Digests
from isoclock.errors import ArtifactError
from isoclock.files import sha256_file

NOT_READ = "0" * 64
"""In the place of the kept digest: whoever gets it has not read the file."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"first content")
    return path


def kept_file(folder: Path) -> Path:
    (path,) = folder.glob("*.json")
    return path


def change_kept(folder: Path, **changes: object) -> None:
    path = kept_file(folder)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def as_read_later(folder: Path, seconds: float) -> None:
    """As if the file had been read that many seconds after it was."""
    change_kept(folder, read_ns=json.loads(kept_file(folder).read_text())["read_ns"] + int(seconds * 1e9))


def test_a_file_that_did_not_change_is_read_once(file: Path, tmp_path: Path) -> None:
    kept, digest = Digests(tmp_path / "kept"), sha256_file(file)
    assert kept.of(file, digest) == digest
    as_read_later(kept.folder, 3.0)
    change_kept(kept.folder, sha256=NOT_READ)
    assert kept.of(file, NOT_READ) == NOT_READ
    assert kept.of(file, digest) == digest, "a digest that is not expected is not believed"


def test_a_file_that_had_just_changed_is_read_again(file: Path, tmp_path: Path) -> None:
    kept, digest = Digests(tmp_path / "kept"), sha256_file(file)
    kept.of(file, digest)
    as_read_later(kept.folder, 1.0)  # a second change within the step of a clock would not show
    change_kept(kept.folder, sha256=NOT_READ)
    assert kept.of(file, NOT_READ) == digest


def rewritten(file: Path) -> None:
    file.write_bytes(b"other content")


def replaced(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"other content")
    other.replace(file)


@pytest.mark.parametrize("change", [rewritten, replaced])
def test_a_change_that_keeps_size_and_time_is_noticed(
    file: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    kept, digest, times = Digests(tmp_path / "kept"), sha256_file(file), file.stat()
    kept.of(file, digest)
    as_read_later(kept.folder, 3.0)
    change(file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)
    assert kept.of(file, digest) == sha256_file(file) != digest
    with pytest.raises(
        ArtifactError, match=rf"not the weights \(its SHA-256 is {sha256_file(file)[:12]}, not {digest[:12]}"
    ):
        kept.check(file, digest, "the weights", "copy them back")


def test_a_file_that_changes_while_it_is_read_is_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(path: Path) -> str:
        found = sha256_file(path)
        path.write_bytes(b"longer than the first content")
        return found

    monkeypatch.setattr(digests, "sha256_file", slow)
    with pytest.raises(ArtifactError, match="changed while it was read; start again when no process writes it"):
        Digests(tmp_path / "kept").of(file, "")


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b'{"state": 1, "read_ns": "x", "sha256": 2}', b"\xff"])
def test_damaged_notes_are_replaced(file: Path, tmp_path: Path, damage: bytes) -> None:
    kept, digest = Digests(tmp_path / "kept"), sha256_file(file)
    kept.of(file, digest)
    kept_file(kept.folder).write_bytes(damage)
    assert kept.of(file, digest) == digest
    assert json.loads(kept_file(kept.folder).read_text())["sha256"] == digest


def test_where_nothing_can_be_kept_every_file_is_read(file: Path) -> None:
    kept, digest = Digests(file / "kept"), sha256_file(file)
    assert kept.of(file, digest) == kept.of(file, NOT_READ) == digest


def test_a_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(
        ArtifactError, match=r"weights.safetensors: cannot be read \(No such file or directory\); do this$"
    ):
        Digests(tmp_path / "kept").check(path, NOT_READ, "the weights", "do this")
