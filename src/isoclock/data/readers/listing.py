"""The files below a folder: what may be read, and what is in the way."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from isoclock.errors import DataError

_OF_MACOS = "__MACOSX"  # a folder that macOS adds to archives


def folded(text: str) -> str:
    """The text for comparisons: file systems differ in case and in the Unicode form of names."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def is_hidden(path: str) -> bool:
    """Whether a part of the path is of a file manager or version control, such as `._a.png`, `.Trash-0` or `__MACOSX`."""
    return any(part.startswith(".") or part == _OF_MACOS for part in path.split("/"))


@dataclass
class Listing:
    """Paths below a folder, relative to it, with links followed. Hidden folders are not searched."""

    files: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)  # links whose targets do not exist
    special: list[str] = field(default_factory=list)  # pipes, sockets and devices
    hidden: list[str] = field(default_factory=list)  # files and folders

    @classmethod
    def of(cls, root: Path) -> Listing:
        """List a folder. Raises DataError if one of its folders cannot be read."""
        found = cls()
        waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
        while waiting:
            below, above = waiting.pop()
            try:
                status = (root / below).stat()
                this = status.st_dev, status.st_ino
                if this in above:
                    continue  # a link to a folder that it is in
                with os.scandir(root / below) as entries:
                    folders = [path for entry in entries if (path := found._add(entry, below)) is not None]
                waiting += [(path, above | {this}) for path in folders]
            except OSError as error:
                raise DataError(f"{error.filename or root / below}: cannot be read ({error.strerror})") from None
        return found

    def _add(self, entry: os.DirEntry[str], below: str) -> str | None:
        """Note a file. Returns the path of a folder that is to be searched."""
        path = f"{below}/{entry.name}" if below else entry.name
        if is_hidden(entry.name):
            self.hidden.append(path)
        elif entry.is_dir():
            return path
        elif entry.is_file():
            self.files.append(path)
        elif entry.is_symlink():
            self.dangling.append(path)
        else:
            self.special.append(path)
        return None
