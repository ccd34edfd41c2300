"""The files of a raw data set, in folders or in zip archives, through one interface."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from isoclock.data.readers.archive import Archive, ArchiveMember
from isoclock.errors import DataError

RawFile = Path | ArchiveMember
"""A file: str() is its location; name, stem, parent and read_bytes() are those of a Path."""


class RawTree:
    """A folder of a raw data set, with the files of that folder in every zip archive below the root of the data set.

    Archives may be anywhere below the root; their paths are relative to the root. A file in a folder overrides the file
    of the same path in an archive. `tree / name` is a subfolder.
    """

    def __init__(self, root: Path, archives: Sequence[Archive] = (), below: PurePosixPath | None = None) -> None:
        self._root, self._archives = root, archives
        self._below = below or PurePosixPath()

    @classmethod
    def open(cls, root: Path) -> RawTree:
        """The tree below `root`, a folder or a single archive. Raises DataError that lists the problems of all archives."""
        if not root.exists():
            raise DataError(f"{root}: not found; put the folders or archives of the data set there")
        found, problems = [], []
        for path in [root] if root.is_file() else sorted(root.rglob("*.zip")):
            try:
                found.append(Archive(path))
            except DataError as error:
                problems += error.problems
        if problems:
            raise DataError(problems)
        return cls(root, found)

    def __truediv__(self, name: str) -> RawTree:
        return RawTree(self._root, self._archives, self._below / name)

    def __str__(self) -> str:
        return str(self._root / self._below)

    def holding(self, pattern: str, *folders: str) -> RawTree:
        """The first of this folder and its subfolders `folders` with a match for `pattern`; this folder if there is none."""
        return next((tree for tree in (self, *(self / folder for folder in folders)) if tree.glob(pattern)), self)

    def glob(self, pattern: str) -> list[RawFile]:
        """Files that match a pattern such as `*/*.png` (`*` within a name), sorted by path, without hidden files.

        Raises DataError if two archives contain different files of the same path.
        """
        found: dict[str, RawFile] = {}
        matching = re.compile("/".join(_translated(part) for part in (self._below / pattern).parts))
        for archive in self._archives:
            for path in filter(matching.fullmatch, archive.members):
                member, other = archive.members[path], found.get(path)
                if isinstance(other, ArchiveMember) and other.identity != member.identity:
                    raise DataError(f"{member}: differs from {other}; move one of the archives away")
                found.setdefault(path, member)
        base = self._root / self._below
        found |= {path.relative_to(self._root).as_posix(): path for path in base.glob(pattern)}
        return [found[path] for path in sorted(found) if not PurePosixPath(path).name.startswith(".")]

    def close(self) -> None:
        """Close the archives."""
        for archive in self._archives:
            archive.close()


def identity(file: RawFile) -> list[int]:
    """Numbers that change with the content of a file."""
    if isinstance(file, ArchiveMember):
        return file.identity
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _translated(part: str) -> str:
    return "[^/]*".join(re.escape(plain) for plain in part.split("*"))
