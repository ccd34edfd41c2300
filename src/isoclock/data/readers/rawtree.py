"""The files of a raw data set, in folders or in zip archives, through one interface."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from isoclock.data.readers.archive import Archive, ArchiveMember
from isoclock.data.readers.listing import Listing, folded, is_hidden
from isoclock.errors import DataError

RawFile = Path | ArchiveMember
"""A file: str() is its location; name, stem, parent and read_bytes() are those of a Path."""


@dataclass
class Found:
    """What all subfolders of a tree share: the files, and which of them a reader has asked for."""

    listing: Listing
    archives: Sequence[Archive] = ()
    used: set[str] = field(default_factory=set)  # folded paths
    searched: set[str] = field(default_factory=set)  # patterns of folders, as regular expressions
    dangling: dict[str, None] = field(default_factory=dict)

    def in_searched(self, paths: Iterable[str]) -> list[str]:
        """The paths in folders of which a reader has asked for files."""
        matching = re.compile("|".join(sorted(self.searched)))
        known: dict[str, bool] = {}
        found = []
        for path in paths:
            folder = path.rpartition("/")[0]
            if folder not in known:
                known[folder] = matching.fullmatch(folded(folder)) is not None
            if known[folder]:
                found.append(path)
        return found


class RawTree:
    """A folder of a raw data set, with the files of that folder in every zip archive below the root of the data set.

    Archives may be anywhere below the root; their paths are relative to the root. A file in a folder overrides the file
    of the same path in an archive. `tree / name` is a subfolder. Paths match regardless of case and Unicode form. `root` is
    the folder or archive of the data set, `found` what is in it.
    """

    def __init__(self, root: Path, found: Found, below: PurePosixPath | None = None) -> None:
        self.root, self.found = root, found
        self._below = below or PurePosixPath()

    @classmethod
    def open(cls, root: Path) -> RawTree:
        """The tree below `root`, a folder or a single archive. Raises DataError that lists the problems of all archives."""
        try:
            mode = root.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(
                _link_problem(root)
                if root.is_symlink()
                else f"{root}: not found; put the folders or archives of the data set there"
            ) from None
        except OSError as error:
            raise DataError(f"{root}: cannot be read ({error.strerror})") from None
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise DataError(f"{root}: neither a folder nor an archive; put the data set there")
        listing = Listing.of(root) if stat.S_ISDIR(mode) else Listing()
        found: list[Archive] = []
        problems = [_link_problem(root / path) for path in sorted(filter(_is_archive, listing.dangling))]
        archives = [root / path for path in sorted(filter(_is_archive, listing.files))]
        for path in archives if stat.S_ISDIR(mode) else [root]:
            try:
                found.append(Archive(path))
            except DataError as error:
                problems += error.problems
        if problems:
            raise DataError(problems)
        return cls(root, Found(listing, found))

    def __truediv__(self, name: str) -> RawTree:
        return RawTree(self.root, self.found, self._below / name)

    def __str__(self) -> str:
        return str(self.root / self._below)

    def holding(self, pattern: str) -> RawTree:
        """The folder below which `pattern` has a match: this one, or else a subfolder, as when an archive has its own folder.

        The nearest one if several have a match; this folder if none has. Raises DataError if two are equally near.
        """
        if self.glob(pattern):
            return self
        above, below = self._below.parts, PurePosixPath(pattern).parts
        whole = re.compile("/".join([*map(_translated, above), "(.+)", *map(_translated, below)]))
        members = (path for archive in self.found.archives for path in archive.members if not is_hidden(path))
        places = {
            found[1]: path.split("/")[len(above) : -len(below)]
            for path in (*self.found.listing.files, *self.found.listing.dangling, *members)
            if (found := whole.fullmatch(folded(path)))
        }
        nearest = ["/".join(place) for place in sorted(places.values(), key=lambda place: (len(place), place))]
        if not nearest:  # perhaps it is behind a link to a folder that does not exist
            paths = map(PurePosixPath, self.found.listing.dangling)
            self.found.dangling |= {str(p): None for p in paths if p.parent == self._below and not p.suffix}
            return self
        if len(nearest) > 1 and nearest[0].count("/") == nearest[1].count("/"):
            raise DataError(f"{self}: {pattern} is in {nearest[0]} and in {nearest[1]}; move one of them away")
        return self / nearest[0]

    def path_of(self, file: RawFile) -> str:
        """The path of a file of this tree below the root of the data set."""
        return str(file.path) if isinstance(file, ArchiveMember) else file.relative_to(self.root).as_posix()

    def use(self, files: Iterable[RawFile]) -> None:
        """Note that files are used: `glob` with `use=False` leaves that open."""
        self.found.used |= {folded(self.path_of(file)) for file in files}

    def glob(self, pattern: str, *, use: bool = True) -> list[RawFile]:
        """Files that match a pattern such as `*/*.png` (`*` within a name), sorted by path, without hidden files.

        Files that are not used are reported when the data set is prepared. Raises DataError if two archives contain different
        files of the same path, and for two files in a folder whose names differ only in case or Unicode form.
        """
        parts = [_translated(part) for part in (self._below / pattern).parts]
        whole = re.compile("/".join(parts))
        found: dict[str, tuple[str, RawFile]] = {}
        for archive in self.found.archives:
            for path in archive.members:
                key = folded(path)
                if whole.fullmatch(key) and not is_hidden(path):
                    member, (_, other) = archive.members[path], found.get(key, ("", None))
                    if isinstance(other, ArchiveMember) and other.identity != member.identity:
                        raise DataError(f"{member}: differs from {other}; move one of the archives away")
                    found.setdefault(key, (path, member))
        for path in self.found.listing.files:
            if whole.fullmatch(key := folded(path)):
                _, other = found.get(key, ("", None))
                if isinstance(other, Path):
                    raise DataError(
                        f"{self.root / path}: differs from {other} only in case or Unicode form; rename or remove one"
                    )
                found[key] = path, self.root / path
        for path in self.found.listing.dangling:
            # Also a link in place of a folder that the pattern goes through.
            if re.fullmatch("/".join(parts[: path.count("/") + 1]), folded(path)):
                self.found.dangling[path] = None
        if use:
            self.found.used |= found.keys()
        self.found.searched.add("/".join(parts[:-1]))
        return [file for _, file in sorted(found.values(), key=lambda pair: pair[0])]

    def check_links(self) -> None:
        """Raises DataError with one line for each link that a pattern matched and whose target does not exist."""
        if self.found.dangling:
            raise DataError([_link_problem(self.root / path) for path in sorted(self.found.dangling)])


def identity(file: RawFile) -> list[int]:
    """Numbers that change with the content of a file."""
    if isinstance(file, ArchiveMember):
        return file.identity
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _is_archive(path: str) -> bool:
    return path.lower().endswith(".zip")


def _link_problem(path: Path) -> str:
    return f"{path}: a link to {path.readlink()}, which does not exist; run `dvc pull`, or restore that file"


def _translated(part: str) -> str:
    return "[^/]*".join(re.escape(plain) for plain in folded(part).split("*"))
