"""Damaged and malicious archives: one clear error each, and nothing is written."""

from __future__ import annotations

import stat
import struct
import tempfile
import uuid
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from miniatures import cityscapes, write_zip

from isoclock.data.packing.prepare import prepare
from isoclock.data.readers.archive import Archive
from isoclock.data.readers.cityscapes import READER
from isoclock.errors import DataError

SPLITS = {"train": "train", "val": "val"}
IMAGE = "leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png"
OUTSIDE = Path(tempfile.gettempdir()) / f"isoclock-evil-{uuid.uuid4()}.png"
"""Target of the absolute path, outside `tmp_path`."""


def with_name(name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(zipfile.ZipInfo(name), b"evil")

    return make


def with_link(path: Path) -> None:
    info = zipfile.ZipInfo("leftImg8bit/train/ulm/ulm_000009_000019_leftImg8bit.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, b"/etc/passwd")


def with_twin(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(IMAGE, b"another")


def with_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(8 << 20))


def with_big_member(path: Path) -> None:
    """Declares half a gigabyte but contains a few bytes."""
    change_directory(path, IMAGE, 24, struct.pack("<I", 1 << 29))


def overlapping(path: Path) -> None:
    """Two names for the same bytes, as in bombs that reach a million to one."""
    with zipfile.ZipFile(path) as archive:
        first, second, *_ = (entry for entry in archive.infolist() if not entry.is_dir())
    change_directory(path, second.filename, 42, struct.pack("<I", first.header_offset))


def zip64(**declared: int) -> Callable[[Path], None]:
    """A member whose entry in the directory declares numbers of 64 bits."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("more.png", b"more")
            for name, value in declared.items():
                setattr(archive.getinfo("more.png"), name, value)
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo("more.png")
            assert {name: getattr(entry, name) for name in declared} == declared

    return make


def beyond(path: Path) -> None:
    change_directory(path, IMAGE, 42, struct.pack("<I", 0xFFFFFFF0))


def encrypted(path: Path) -> None:
    change_directory(path, IMAGE, 8, struct.pack("<H", 1))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def not_an_archive(path: Path) -> None:
    path.write_bytes(b"<html>Please log in</html>")


def other_method(path: Path) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("more.png", b"b")


def change_directory(path: Path, name: str, at: int, content: bytes) -> None:
    """Overwrite a field of a member's entry in the central directory (APPNOTE.TXT, 4.3.12)."""
    whole = bytearray(path.read_bytes())
    place = whole.rindex(name.encode()) - 46
    assert whole[place : place + 4] == b"PK\x01\x02"
    whole[place + at : place + at + len(content)] = content
    path.write_bytes(whole)


MALICIOUS = {
    "dots": (with_name("../../evil.png"), "path outside"),
    "dots inside": (with_name("leftImg8bit/../../evil.png"), "path outside"),
    "absolute": (with_name(str(OUTSIDE)), "path outside"),
    "drive": (with_name("C:/evil.png"), "path outside"),
    "backslash": (with_name("..\\evil.png"), "path outside"),
    "link": (with_link, "is a link"),
    "twin": (with_twin, "occurs twice"),
    "bomb by ratio": (with_bomb, "a zip bomb"),
    "bomb by size": (with_big_member, "a zip bomb"),
    "overlap": (overlapping, "overlaps another member"),
    "beyond the file": (beyond, "lies beyond the end of the archive"),
    "zip64 size": (zip64(file_size=1 << 63), "a zip bomb"),
    "zip64 packed size": (zip64(compress_size=1 << 40), "lies beyond the end of the archive"),
    "zip64 offset": (zip64(header_offset=1 << 62), "lies beyond the end of the archive"),
    "encrypted": (encrypted, "is encrypted"),
    "cut off": (cut_off, "truncated"),
    "a page": (not_an_archive, "not a zip archive"),
    "method": (other_method, "compression method 12"),
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious_archives_give_one_error_and_write_nothing(name: str, tmp_path: Path) -> None:
    make, words = MALICIOUS[name]
    raw = tmp_path / "a" / "raw"
    archive = cityscapes(raw)["leftImg8bit_trainvaltest"]
    make(archive)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(DataError) as caught:
        prepare(READER, raw, tmp_path / "b" / "out", splits=SPLITS)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{archive}: ")
    assert words in problem
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "b").exists()
    written = OUTSIDE.exists()
    OUTSIDE.unlink(missing_ok=True)
    assert not written


def wrong_crc(path: Path) -> None:
    change_directory(path, IMAGE, 16, struct.pack("<I", 12345))


def more_than_declared(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo(IMAGE).file_size
    change_directory(path, IMAGE, 24, struct.pack("<I", size - 7))


def less_than_declared(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo(IMAGE).file_size
    change_directory(path, IMAGE, 24, struct.pack("<I", size + 7))


def broken_stream(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(IMAGE)
    whole = bytearray(path.read_bytes())
    start = entry.header_offset + 30 + len(IMAGE)
    whole[start : start + 40] = b"\xff" * 40
    path.write_bytes(whole)


def broken_header(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(IMAGE)
    whole = bytearray(path.read_bytes())
    whole[entry.header_offset : entry.header_offset + 4] = b"NOPE"
    path.write_bytes(whole)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (wrong_crc, "its checksum is wrong"),
        (more_than_declared, "larger than the"),
        (less_than_declared, "its checksum is wrong"),
        (broken_stream, "damaged"),
        (broken_header, "not at the offset in the archive's directory"),
    ],
)
def test_a_damaged_member_is_named(make: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    archive = cityscapes(tmp_path / "raw")["leftImg8bit_trainvaltest"]
    make(archive)
    with pytest.raises(DataError) as caught:
        prepare(READER, tmp_path / "raw", tmp_path / "out", splits=SPLITS)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{archive}:{IMAGE}: ")
    assert words in problem
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_faults_of_all_archives_are_reported_together(tmp_path: Path) -> None:
    archives = cityscapes(tmp_path / "raw")
    with_link(archives["leftImg8bit_trainvaltest"])
    with_name("../evil")(archives["leftImg8bit_trainvaltest"])
    with_name("../worse")(archives["leftImg8bit_trainvaltest"])
    cut_off(archives["leftImg8bit_trainextra"])
    with pytest.raises(DataError) as caught:
        prepare(READER, tmp_path / "raw", tmp_path / "out", splits=SPLITS)
    assert len(caught.value.problems) == 3
    assert "'../evil' and 1 more: has a path outside" in caught.value.args[0]


def test_members_are_read_as_zipfile_reads_them(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    contents = {f"x/{size}.bin": random.bytes(size) for size in (0, 1, 1000, 300_000)}
    path = write_zip(tmp_path / "a.zip", contents)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/stored.bin", random.bytes(5000), zipfile.ZIP_STORED)
        archive.writestr("x/even.bin", bytes(1 << 19), zipfile.ZIP_DEFLATED)  # small things may shrink a lot
    opened = Archive(path)
    with zipfile.ZipFile(path) as archive:
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        assert sorted(opened.members) == sorted(names)
        for name in names:
            content = archive.read(name)
            assert opened.members[name].read_bytes() == content
            head = opened.members[name].head(100)
            assert content.startswith(head)


def test_a_damaged_archive_is_refused_or_read_but_never_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_zip(path, {f"x/{number}.bin": bytes(range(200)) for number in range(3)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/huge.bin", b"huge")
        archive.getinfo("x/huge.bin").header_offset = 1 << 33  # so that the archive has the records of Zip64
    whole, random = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for place in random.integers(len(whole) // 3, len(whole), random.integers(1, 5)):
            damaged[place] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.integers(256)])
        path.write_bytes(damaged)
        try:
            for member in Archive(path).members.values():
                member.read_bytes()
        except DataError:
            refused += 1
    assert refused > 100
