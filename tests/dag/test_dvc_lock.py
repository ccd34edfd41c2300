"""A damaged dvc.lock is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoclock.dag.dvc_lock import compare_with_dvc_lock
from isoclock.errors import ArtifactError


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"[1, 2]",
        b"stages: [",
        b"stages: 7",
        b"stages: {a: 7}",
        b"stages: {a: {outs: [7]}}",
        b"stages: {a: {outs: [{path: results/a}]}}",
        b"[" * 1500,
    ],
    ids=range(8),
)
def test_a_damaged_lock_is_one_line(tmp_path: Path, content: bytes) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"dvc\.lock: damaged \(.*\); restore it from the repository$"):
        compare_with_dvc_lock(lock, Path("results"), [])


def test_an_empty_lock_lists_nothing(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").touch()
    assert compare_with_dvc_lock(tmp_path / "dvc.lock", Path("results"), []) == set()
