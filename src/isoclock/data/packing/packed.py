"""Packed splits on disk: what their index says of them, and whether their files are those that it names.

`index.json` (written by `prepare`) has digests and sums, `<split>.samples.json` names and sizes.
"""

from __future__ import annotations

from pathlib import Path

from isoclock.data.loading.pixels import SplitPixels
from isoclock.digests import Digests, short
from isoclock.errors import DataError
from isoclock.files import sha256_file
from isoclock.records.document import read
from isoclock.records.index import Index, PackedFile, Samples

INDEX = "index.json"


def read_index(folder: Path) -> Index:
    """The index of a prepared data set. Raises ArtifactError if there is none, or if it is damaged or of another schema."""
    return read(folder / INDEX, Index, f"prepare {folder.name}")


class PackedSplit(SplitPixels):
    """One split of a prepared data set, opened by its index.

    Raises DataError if a packed file is missing or has another length than the index says; `verify` compares digests too.
    """

    def __init__(self, folder: Path, split: str) -> None:
        index = read_index(folder)
        if split not in index.splits:
            raise DataError(f"{folder / INDEX}: has no split {split!r}, only {', '.join(sorted(index.splits))}")
        self.folder, self.split, self.dataset = folder, split, index.dataset
        self.classes: list[str] = index.classes
        self._files: dict[str, PackedFile] = index.splits[split].files
        problems = [problem for kind in self._files if (problem := self._wrong_length(kind))]
        if problems:
            raise DataError(problems)
        samples = read(self._path("samples"), Samples, f"prepare {folder.name}")
        super().__init__(
            {kind: self._path(kind) for kind in self._files},
            samples.names,
            samples.sizes,
            samples.labelled,
            samples.image_bytes if index.storage.images == "jpeg" else None,
        )

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the split's files by kind (images, labels if it has any, samples), as the index has them."""
        return {kind: entry.sha256 for kind, entry in self._files.items()}

    def verify(self, kept: Digests | None = None) -> None:
        """Compare the files with the index's digests, with the help of those `kept`; without them, every file is read.

        Raises DataError that lists every file that differs.
        """
        problems = []
        for kind, expected in self.digests.items():
            path = self._path(kind)
            found = sha256_file(path) if kept is None else kept.of(path, expected)
            if found != expected:
                problems.append(
                    f"{path}: not the file that {INDEX} names (its SHA-256 is {short(found)}, not {short(expected)}); "
                    f"run `isoclock prepare {self.folder.name}` again"
                )
        if problems:
            raise DataError(problems)

    def _path(self, kind: str) -> Path:
        return self.folder / self._files[kind].file

    def _wrong_length(self, kind: str) -> str | None:
        path, expected = self._path(kind), self._files[kind].bytes
        if not path.is_file():
            return f"{path}: missing, although {INDEX} names it; run `isoclock prepare` again"
        if (found := path.stat().st_size) != expected:
            return f"{path}: {found} bytes, but {INDEX} says {expected}; run `isoclock prepare` again"
        return None
