"""The files of a raw data set, whether they lie in folders or in zip archives: a reader need not know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from isoclock.data.readers.archive import Archive, ArchiveMember
from isoclock.errors import DataError

RawFile = Path | ArchiveMember
"""A file: str() tells where it is; name, stem, parent and read_bytes() are those of a Path."""


class RawTree:
    """A folder of a raw data set, and what every zip archive below the data set's root holds of that folder.

    Archives may lie anywhere below the root; paths in them count from the root. A file in a folder stands above the
    same one in an archive. `tree / name` is a folder in it.
    """

    def __init__(self, root: Path, archives: Sequence[Archive] = (), below: PurePosixPath | None = None) -> None:
        self._root, self._archives = root, archives
        self._below = below or PurePosixPath()

    @classmethod
    def open(cls, root: Path) -> RawTree:
        """The tree below `root`, a folder or a single archive. Raises DataError that lists what is wrong with any archive."""
        if not root.exists():
            raise DataError(f"{root}: not there; put the data set's folders or archives there")
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
        """This folder, or the first of `folders` in it, in which `pattern` finds anything; this one if none does."""
        return next((tree for tree in (self, *(self / folder for folder in folders)) if tree.glob(pattern)), self)

    def glob(self, pattern: str) -> list[RawFile]:
        """Files that match a pattern such as `*/*.png` (`*` within a name), by path, but hidden ones, which systems leave behind.

        Raises DataError if two archives hold a file of one path and unlike content.
        """
        found: dict[str, RawFile] = {}
        matching = re.compile("/".join(_translated(part) for part in (self._below / pattern).parts))
        for archive in self._archives:
            for path in filter(matching.fullmatch, archive.members):
                member, other = archive.members[path], found.get(path)
                if isinstance(other, ArchiveMember) and other.identity != member.identity:
                    raise DataError(f"{member}: not the same as {other}; move one of the archives away")
                found.setdefault(path, member)
        base = self._root / self._below
        found |= {path.relative_to(self._root).as_posix(): path for path in base.glob(pattern)}
        return [found[path] for path in sorted(found) if not PurePosixPath(path).name.startswith(".")]

    def close(self) -> None:
        """Close the archives."""
        for archive in self._archives:
            archive.close()


def identity(file: RawFile) -> list[int]:
    """Numbers that change when a file's content does."""
    if isinstance(file, ArchiveMember):
        return file.identity
    told = file.stat()
    return [told.st_size, told.st_mtime_ns]


def _translated(part: str) -> str:
    return "[^/]*".join(re.escape(plain) for plain in part.split("*"))
