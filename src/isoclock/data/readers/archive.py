"""Zip archives of data sets, read in place: nothing is extracted, so nothing can be written outside the data folder.

Reading a member opens the archive, so that any number of archives takes no file descriptors, and any number of threads can
read at the same time. The whole archive is checked before any member is read. The size and checksum of a member must match the
directory of the archive.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath

from isoclock.errors import DataError

MAX_MEMBER_BYTES = 256 << 20
"""Limit of the size of a member. A member is read into memory as a whole, and no image of a data set is larger."""

MAX_RATIO = 200
"""Limit of the compression ratio of a member above 1 MiB. Images are already compressed: more is a zip bomb."""

_SMALL = 1 << 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of the name, length of the extra field
_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_ENCRYPTED = 0x1
_DRIVE = re.compile(r"^[A-Za-z]:")


@dataclass(frozen=True)
class ArchiveMember:
    """A file in an archive. Has the attributes of a Path that readers use: name, stem, parent, read_bytes."""

    archive: Path
    path: PurePosixPath
    size: int  # bytes, uncompressed
    packed: int  # bytes, compressed
    crc: int
    deflated: bool
    offset: int  # of the local header

    def __str__(self) -> str:
        return f"{self.archive}:{self.path}"

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.name

    @property
    def stem(self) -> str:
        """`name` without its suffix."""
        return self.path.stem

    @property
    def parent(self) -> PurePosixPath:
        """The folder in the archive."""
        return self.path.parent

    @property
    def identity(self) -> list[int]:
        """Numbers that change with the content."""
        return [self.size, self.crc]

    def read_bytes(self) -> bytes:
        """The content. Raises DataError if size or checksum differ from the directory of the archive."""
        content = self._unpacked(self.packed, self.size + 1)
        if len(content) > self.size:
            raise DataError(f"{self}: larger than the {self.size} bytes that it declares; download the archive again")
        if len(content) < self.size or zlib.crc32(content) != self.crc:
            raise DataError(f"{self}: damaged (its checksum is wrong); download the archive again")
        return content

    def head(self, count: int) -> bytes:
        """The first bytes, at most `count`, unverified: enough for the header of an image."""
        return self._unpacked(min(self.packed, count), count)

    def _unpacked(self, packed: int, at_most: int) -> bytes:
        with self.archive.open("rb") as stream:
            stream.seek(max(0, self.offset))
            header = stream.read(_LOCAL_HEADER.size)
            if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
                raise DataError(f"{self}: not at the offset in the archive's directory; download the archive again")
            _, name, extra = _LOCAL_HEADER.unpack(header)
            stream.seek(name + extra, os.SEEK_CUR)
            content = stream.read(min(packed, MAX_MEMBER_BYTES + _SMALL))  # `packed` may be any number
        if not self.deflated:
            return content
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, at_most)
        except zlib.error as error:
            raise DataError(f"{self}: damaged ({error}); download the archive again") from None


class Archive:
    """A zip archive that was checked as a whole.

    Raises DataError, one line per kind of fault, if it is not a zip archive or truncated, or if any member has an absolute
    path or one outside the archive, is a link or a device, occurs twice, overlaps another one, is encrypted, or is a zip
    bomb, or lies beyond the end (Zip64 can declare any size and offset).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                entries, end = archive.infolist(), archive.start_dir
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error):
            raise DataError(f"{path}: {_content_problem(path)}; download it again, or move it away") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        problems: dict[str, list[str]] = {}
        for entry in entries:
            if (fault := _member_problem(entry, end)) is not None:
                problems.setdefault(fault, []).append(entry.orig_filename)
        counts = Counter(PurePosixPath(entry.filename) for entry in entries)
        if twice := [str(name) for name, count in counts.items() if count > 1]:
            problems["occurs twice"] = twice
        if overlapping := _overlapping(entries):
            problems["overlaps another member (a zip bomb)"] = overlapping
        if problems:
            raise DataError(
                [
                    f"{path}: {names[0]!r}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {fault}; "
                    "nothing was read or written: download the archive from its official source, or move it away"
                    for fault, names in problems.items()
                ]
            )
        self._entries = entries

    @cached_property
    def members(self) -> dict[str, ArchiveMember]:
        """The files by their path in the archive."""
        return {
            str(path): ArchiveMember(
                archive=self.path,
                path=path,
                size=entry.file_size,
                packed=entry.compress_size,
                crc=entry.CRC,
                deflated=entry.compress_type == _DEFLATED,
                offset=entry.header_offset,
            )
            for entry in self._entries
            if not entry.is_dir() and (path := PurePosixPath(entry.filename))
        }


def _content_problem(path: Path) -> str:
    with path.open("rb") as stream:
        pointer = stream.read(40).startswith(b"version https://git-lfs")
    return (
        "a git-lfs pointer instead of the archive (run `git lfs pull`)"
        if pointer
        else "not a zip archive, or truncated"
    )


def _member_problem(entry: zipfile.ZipInfo, end: int) -> str | None:
    name = entry.orig_filename
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if name.startswith("/") or "\\" in name or "\0" in name or _DRIVE.match(name) or ".." in name.split("/"):
        return "has a path outside the archive's folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, not a file"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if entry.compress_type not in (_STORED, _DEFLATED):
        return f"uses compression method {entry.compress_type}, which is not supported"
    if entry.file_size > MAX_MEMBER_BYTES or (
        entry.file_size > _SMALL and entry.file_size > MAX_RATIO * entry.compress_size
    ):
        return f"would expand from {entry.compress_size >> 10} KiB to {entry.file_size >> 20} MiB (a zip bomb)"
    if not 0 <= entry.header_offset <= end - _LOCAL_HEADER.size - entry.compress_size:
        return "lies beyond the end of the archive"
    return None


def _overlapping(entries: list[zipfile.ZipInfo]) -> list[str]:
    # A member consists of its header, its name and its bytes; an extra field only makes it longer.
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    return [
        entry.orig_filename
        for entry, following in pairwise(ordered)
        if entry.header_offset + _LOCAL_HEADER.size + len(entry.orig_filename) + entry.compress_size
        > following.header_offset
    ]
