"""An interrupted packing resumes: after a kill, lost files and changed sources."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import miniatures
import pytest

import isoclock.data.packing.prepare as prepare_module
from isoclock.data.packing.pack import Packing
from isoclock.data.packing.prepare import prepare
from isoclock.data.readers.cityscapes import READER
from isoclock.data.readers.rawtree import RawTree
from isoclock.data.readers.reader import Sample
from isoclock.errors import DataError
from isoclock.labels import UNLABELLED

SPLITS = {"train": "train", "val": "val", UNLABELLED: "train_extra"}
IMAGES = 12 + 6 + 3

KILLED = """
import os, signal, sys
from pathlib import Path
from isoclock.data.readers.cityscapes import READER
from isoclock.data.packing.prepare import prepare
from isoclock.progress import ProgressLine

class KilledAt(ProgressLine):
    def update(self, done, total, figures=""):
        if done == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)

splits = {"train": "train", "val": "val", "unlabelled": "train_extra"}
prepare(READER, Path(sys.argv[1]), Path(sys.argv[2]), splits=splits, storage=sys.argv[3], workers=2, progress=KilledAt(""))
"""


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    miniatures.cityscapes(tmp_path / "raw", per_city=6)
    return tmp_path / "raw"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the samples that are decoded."""
    names: list[str] = []
    verify = prepare_module.verify

    def recorded(reader: object, sample: Sample, *others: object) -> object:
        names.append(sample.name)
        return verify(reader, sample, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(prepare_module, "verify", recorded)
    return names


def kill(raw: Path, out: Path, storage: str, after: int) -> Path:
    """Prepare in a process that is killed with SIGKILL after `after` samples; returns the folder of the packing."""
    command = [sys.executable, "-c", KILLED, str(raw), str(out), storage, str(after)]
    done = subprocess.run(command, check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    return out.parent / f".{out.name}.packing"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("storage", ["raw", "jpeg"])
@pytest.mark.parametrize("after", [1, 13, IMAGES])
def test_packed_samples_are_not_decoded_again(
    raw: Path, decoded: list[str], tmp_path: Path, storage: str, after: int
) -> None:
    work = kill(raw, tmp_path / "out", storage, after)
    prepare(READER, raw, tmp_path / "out", splits=SPLITS, storage=storage)  # type: ignore[arg-type]
    assert len(decoded) == IMAGES - after
    assert not work.exists()
    prepare(READER, raw, tmp_path / "whole", splits=SPLITS, storage=storage)  # type: ignore[arg-type]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def cut_pixels(work: Path) -> None:
    """As after a power failure: the journal was written to disk, the last pixels were not."""
    path = work / "new" / "train.images.u8"
    os.truncate(path, path.stat().st_size - 10)


def change_pixels(work: Path) -> None:
    with (work / "new" / "train.labels.u8").open("r+b") as stream:
        stream.seek(-5, os.SEEK_END)
        stream.write(b"\0\1\2\3\4")


def cut_journal(work: Path) -> None:
    path = work / "journal.jsonl"
    os.truncate(path, path.stat().st_size - 10)


def garbage_in_the_journal(work: Path) -> None:
    path = work / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:7], b"[1, 2]\n", *lines[8:]]))


def wrong_type_in_the_journal(work: Path) -> None:
    path = work / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    wrong = json.dumps(json.loads(lines[7]) | {"size": 7}).encode() + b"\n"
    path.write_bytes(b"".join([*lines[:7], wrong, *lines[8:]]))


def touch_source(work: Path) -> None:
    path = next((work.parent / "raw").rglob("ulm_000001_000019_leftImg8bit.png"))
    os.utime(path, ns=(0, 0))


HARMS = [
    (cut_pixels, 8),
    (change_pixels, 8),
    (cut_journal, 8),
    (touch_source, 7),
    (garbage_in_the_journal, 6),
    (wrong_type_in_the_journal, 6),
]


@pytest.mark.parametrize(("harm", "kept"), HARMS)
def test_only_intact_samples_are_kept(
    raw: Path, decoded: list[str], tmp_path: Path, harm: Callable[[Path], None], kept: int
) -> None:
    for archive in list(raw.glob("*.zip")):
        miniatures.unpacked(archive, raw)
        archive.unlink()
    work = kill(raw, tmp_path / "out", "raw", 9)
    harm(work)
    prepare(READER, raw, tmp_path / "out", splits=SPLITS)
    assert len(decoded) == IMAGES - kept
    prepare(READER, raw, tmp_path / "whole", splits=SPLITS)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_other_settings_restart_the_packing(raw: Path, decoded: list[str], tmp_path: Path) -> None:
    kill(raw, tmp_path / "out", "raw", 9)
    prepare(READER, raw, tmp_path / "out", splits=SPLITS, size=(16, 32))
    assert len(decoded) == IMAGES


def test_problems_after_an_interruption_leave_nothing(raw: Path, tmp_path: Path) -> None:
    work = kill(raw, tmp_path / "out", "raw", 9)
    bad = raw / "leftImg8bit/val/munster/munster_000003_000019_leftImg8bit.png"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"")
    with pytest.raises(DataError, match="empty; download it again"):
        prepare(READER, raw, tmp_path / "out", splits=SPLITS)
    assert not work.exists()


def test_a_second_process_is_rejected(raw: Path, tmp_path: Path) -> None:
    tree = RawTree.open(raw)
    (tmp_path / "results").mkdir()
    out = tmp_path / "results" / "out"
    with Packing(out, {}, [], set(), "raw"), pytest.raises(DataError, match="another process is packing it"):
        prepare(READER, raw, out, splits=SPLITS)
    tree.close()
    assert prepare(READER, raw, out, splits=SPLITS).splits["train"].images == 12


def test_a_full_disk_is_reported_and_packed_samples_are_kept(raw: Path, decoded: list[str], tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (9 * 3 * 32 * 64 + 5, before[1])
    )  # room for nine images of train and a few bytes
    try:
        with pytest.raises(DataError, match=r"cannot be written \(File too large\); fix that, then run") as caught:
            prepare(READER, raw, tmp_path / "out", splits=SPLITS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(caught.value.problems) == 1
    decoded.clear()
    prepare(READER, raw, tmp_path / "out", splits=SPLITS)
    assert len(decoded) == IMAGES - 9


def test_disk_space_is_checked_before_writing(raw: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(small)], check=True)
    try:
        with pytest.raises(
            DataError, match=r"packing needs about 0\.2 MiB, but 0\.1 MiB are free; free some disk space"
        ):
            prepare(READER, raw, small / "out", splits=SPLITS)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)
