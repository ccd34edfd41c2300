"""A packing that is interrupted goes on where it was: really killed, files lost, sources changed."""

from __future__ import annotations

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
from isoclock.data.readers.reader import UNLABELLED, Sample
from isoclock.errors import DataError

SPLITS = {"train": "train", "val": "val", UNLABELLED: "train_extra"}
IMAGES = 12 + 6 + 3

KILLED = """
import os, signal, sys
from pathlib import Path
from isoclock.data.readers.cityscapes import READER
from isoclock.data.packing.prepare import prepare
from isoclock.progress import ProgressLine

class Deadly(ProgressLine):
    def update(self, done, total, figures=""):
        if done == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)

splits = {"train": "train", "val": "val", "unlabelled": "train_extra"}
prepare(READER, Path(sys.argv[1]), Path(sys.argv[2]), splits=splits, storage=sys.argv[3], workers=2, progress=Deadly(""))
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

    def watched(reader: object, sample: Sample, *others: object) -> object:
        names.append(sample.name)
        return verify(reader, sample, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(prepare_module, "verify", watched)
    return names


def kill(raw: Path, out: Path, storage: str, after: int) -> Path:
    """Prepare in a process that is killed, as by kill -9, after so many samples; gives the folder that it leaves."""
    command = [sys.executable, "-c", KILLED, str(raw), str(out), storage, str(after)]
    done = subprocess.run(command, check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    return out.parent / f".{out.name}.packing"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("storage", ["raw", "jpeg"])
@pytest.mark.parametrize("after", [1, 13, IMAGES])
def test_what_was_packed_is_not_decoded_again(
    raw: Path, decoded: list[str], tmp_path: Path, storage: str, after: int
) -> None:
    work = kill(raw, tmp_path / "out", storage, after)
    prepare(READER, raw, tmp_path / "out", splits=SPLITS, storage=storage)  # type: ignore[arg-type]
    assert len(decoded) == IMAGES - after
    assert not work.exists()
    prepare(READER, raw, tmp_path / "whole", splits=SPLITS, storage=storage)  # type: ignore[arg-type]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def cut_pixels(work: Path) -> None:
    """As after a power cut: the journal reached the disk, the last pixels did not."""
    path = work / "new" / "train.images.u8"
    os.truncate(path, path.stat().st_size - 10)


def change_pixels(work: Path) -> None:
    with (work / "new" / "train.labels.u8").open("r+b") as stream:
        stream.seek(-5, os.SEEK_END)
        stream.write(b"\0\1\2\3\4")


def cut_journal(work: Path) -> None:
    path = work / "journal.jsonl"
    os.truncate(path, path.stat().st_size - 10)


def touch_source(work: Path) -> None:
    path = next((work.parent / "raw").rglob("ulm_000001_000019_leftImg8bit.png"))
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize(("harm", "kept"), [(cut_pixels, 8), (change_pixels, 8), (cut_journal, 8), (touch_source, 7)])
def test_only_what_is_still_there_is_kept(
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


def test_another_way_of_packing_begins_anew(raw: Path, decoded: list[str], tmp_path: Path) -> None:
    kill(raw, tmp_path / "out", "raw", 9)
    prepare(READER, raw, tmp_path / "out", splits=SPLITS, size=(16, 32))
    assert len(decoded) == IMAGES


def test_problems_after_an_interruption_leave_nothing(raw: Path, tmp_path: Path) -> None:
    work = kill(raw, tmp_path / "out", "raw", 9)
    bad = raw / "leftImg8bit/val/munster/munster_000003_000019_leftImg8bit.png"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"")
    with pytest.raises(DataError, match="empty; fetch it again"):
        prepare(READER, raw, tmp_path / "out", splits=SPLITS)
    assert not work.exists()


def test_two_at_once_is_one_too_many(raw: Path, tmp_path: Path) -> None:
    tree = RawTree.open(raw)
    (tmp_path / "results").mkdir()
    out = tmp_path / "results" / "out"
    with Packing(out, {}, [], set(), "raw"), pytest.raises(DataError, match="another process is packing it"):
        prepare(READER, raw, out, splits=SPLITS)
    tree.close()
    assert prepare(READER, raw, out, splits=SPLITS).splits["train"].images == 12


def test_a_disk_that_takes_no_more_is_told_and_what_is_there_is_kept(
    raw: Path, decoded: list[str], tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9 * 3 * 32 * 64 + 5, before[1]))  # nine images of train and a few bytes
    try:
        with pytest.raises(
            DataError, match=r"cannot be written \(File too large\); mend that and start again"
        ) as caught:
            prepare(READER, raw, tmp_path / "out", splits=SPLITS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(caught.value.problems) == 1
    decoded.clear()
    prepare(READER, raw, tmp_path / "out", splits=SPLITS)
    assert len(decoded) == IMAGES - 9


def test_room_is_asked_for_before_anything_is_written(raw: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(small)], check=True)
    try:
        with pytest.raises(DataError, match=r"packing needs about 0\.2 MiB, but 0\.1 MiB are free there; make room"):
            prepare(READER, raw, small / "out", splits=SPLITS)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)
