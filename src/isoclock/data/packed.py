"""Packed splits: raw uint8 images and train ids, memory-mapped, so that a crop reads only the pixels it needs.

`index.json` beside the files (written by `prepare`) tells sizes, offsets and digests; nothing is decoded in training.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoclock.artifacts import read_json, sha256_file
from isoclock.errors import DataError

INDEX = "index.json"
Pixels = NDArray[np.uint8]


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a prepared data set. Raises ArtifactError if there is none."""
    index: dict[str, Any] = read_json(folder / INDEX, "prepare")
    return index


class PackedSplit:
    """One split of a prepared data set. Files are mapped on first use in each process: it travels to workers cheaply.

    `names`, `sizes` ((height, width) each), `labelled` and `classes` come from the index. Raises DataError if a packed
    file is missing or has not the length that the index tells; `verify` compares digests too.
    """

    def __init__(self, folder: Path, split: str) -> None:
        index = read_index(folder)
        if split not in index["splits"]:
            raise DataError(f"{folder / INDEX}: has no split {split!r}, only {', '.join(sorted(index['splits']))}")
        part = index["splits"][split]
        self.folder, self.split, self.dataset = folder, split, str(index["dataset"])
        self.classes: list[str] = index["classes"]
        self.names: list[str] = part["names"]
        self.sizes: list[tuple[int, int]] = [(height, width) for height, width in part["sizes"]]
        self.labelled: list[bool] = part["labelled"]
        self._offsets: list[int] = part["offsets"]
        self._files: dict[str, dict[str, Any]] = {kind: part["files"][kind] for kind in ("images", "labels")}
        self._maps: tuple[Pixels, Pixels] | None = None
        problems = [problem for kind in self._files if (problem := self._wrong_length(kind))]
        if problems:
            raise DataError(problems)

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self) -> dict[str, Any]:
        # A map does not travel: the worker opens its own.
        return {**self.__dict__, "_maps": None}

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the packed images and labels, as the index tells."""
        return {kind: str(entry["sha256"]) for kind, entry in self._files.items()}

    def verify(self) -> None:
        """Compare the files with the index's digests. Raises DataError that lists every file that differs."""
        wrong = [kind for kind, digest in self.digests.items() if sha256_file(self._path(kind)) != digest]
        if wrong:
            raise DataError(
                [f"{self._path(kind)}: not the file that {INDEX} tells; run `isoclock prepare` again" for kind in wrong]
            )

    def image(self, i: int) -> Pixels:
        """Image `i`: RGB (H, W, 3), a read-only view of the file."""
        height, width = self.sizes[i]
        start = 3 * self._offsets[i]
        return self._open()[0][start : start + 3 * height * width].reshape(height, width, 3)

    def label(self, i: int) -> Pixels:
        """Train ids of image `i`: (H, W), 255 where void or unlabelled; a read-only view of the file."""
        height, width = self.sizes[i]
        start = self._offsets[i]
        return self._open()[1][start : start + height * width].reshape(height, width)

    def window(self, i: int, top: int, left: int, height: int, width: int) -> tuple[Pixels, Pixels]:
        """Image (height, width, 3) and label (height, width) of a window inside image `i`; views, nothing copied."""
        rows, columns = slice(top, top + height), slice(left, left + width)
        return self.image(i)[rows, columns], self.label(i)[rows, columns]

    def _path(self, kind: str) -> Path:
        return self.folder / self._files[kind]["file"]

    def _wrong_length(self, kind: str) -> str | None:
        path, told = self._path(kind), self._files[kind]["bytes"]
        if not path.is_file():
            return f"{path}: not there, although {INDEX} tells of it; run `isoclock prepare` again"
        if (found := path.stat().st_size) != told:
            return f"{path}: {found} bytes, but {INDEX} tells {told}; run `isoclock prepare` again"
        return None

    def _open(self) -> tuple[Pixels, Pixels]:
        if self._maps is None:
            images, labels = (np.frombuffer(_mapped(self._path(kind)), np.uint8) for kind in ("images", "labels"))
            self._maps = images, labels
        return self._maps


def _mapped(path: Path) -> mmap.mmap:
    # Plain mmap, not np.memmap: slicing that subclass costs more than reading a crop.
    with path.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
