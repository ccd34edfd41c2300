"""Packed splits: raw uint8 images and train ids, memory-mapped, so that a crop reads only the pixels it needs.

`index.json` beside the files (written by `prepare`) tells digests and sums, `<split>.samples.json` names and sizes. A split that is
stored as JPEG holds the encoded images one behind the other, and one is decoded with every access.
"""

from __future__ import annotations

import mmap
from itertools import accumulate
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from isoclock.data.readers.reader import IGNORE
from isoclock.errors import DataError
from isoclock.files import sha256_file
from isoclock.records.document import read
from isoclock.records.index import Index, PackedFile, Samples

INDEX = "index.json"
Pixels = NDArray[np.uint8]


def read_index(folder: Path) -> Index:
    """The index of a prepared data set. Raises ArtifactError if there is none, or if it is damaged or of another schema."""
    return read(folder / INDEX, Index, f"prepare {folder.name}")


def file_names(split: str, storage: str) -> dict[str, str]:
    """Names of a split's files in a prepared folder, its images stored `raw` or as `jpeg`. One without labels has no `labels`."""
    return {
        "images": f"{split}.images.{'u8' if storage == 'raw' else 'jpegs'}",
        "labels": f"{split}.labels.u8",
        "samples": f"{split}.samples.json",
    }


def decode_rgb(content: bytes | Pixels) -> Pixels | None:
    """The pixels of an image file: RGB (H, W, 3) whatever its colours are, never turned; None if it cannot be decoded."""
    # Grey becomes three equal channels. A label has no orientation, so that of the image must not count either.
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    return None if pixels is None else np.asarray(pixels, np.uint8)


class PackedSplit:
    """One split of a prepared data set. Files are mapped on first use in each process: it travels to workers cheaply.

    `names`, `sizes` ((height, width) each), `labelled` and `classes` come from the index. Raises DataError if a packed
    file is missing or has not the length that the index tells; `verify` compares digests too.
    """

    def __init__(self, folder: Path, split: str) -> None:
        index = read_index(folder)
        if split not in index.splits:
            raise DataError(f"{folder / INDEX}: has no split {split!r}, only {', '.join(sorted(index.splits))}")
        self.folder, self.split, self.dataset = folder, split, index.dataset
        self.classes: list[str] = index.classes
        self._jpeg = index.storage.images == "jpeg"
        self._files: dict[str, PackedFile] = index.splits[split].files
        self._maps: dict[str, Pixels] = {}
        problems = [problem for kind in self._files if (problem := self._wrong_length(kind))]
        if problems:
            raise DataError(problems)
        samples = read(self._path("samples"), Samples, f"prepare {folder.name}")
        self.names, self.sizes, self.labelled = samples.names, samples.sizes, samples.labelled
        pixels = [height * width for height, width in self.sizes]
        self._label_starts = [0, *accumulate(pixels)]
        self._image_starts = [0, *accumulate(samples.image_bytes if self._jpeg else (3 * count for count in pixels))]

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self) -> dict[str, Any]:
        # A map does not travel: the worker opens its own.
        return {**self.__dict__, "_maps": {}}

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the split's files by kind (images, labels if it has any, samples), as the index tells."""
        return {kind: entry.sha256 for kind, entry in self._files.items()}

    def verify(self) -> None:
        """Compare the files with the index's digests. Raises DataError that lists every file that differs."""
        wrong = [kind for kind, digest in self.digests.items() if sha256_file(self._path(kind)) != digest]
        if wrong:
            raise DataError(
                [f"{self._path(kind)}: not the file that {INDEX} tells; run `isoclock prepare` again" for kind in wrong]
            )

    def image(self, i: int) -> Pixels:
        """Image `i`: RGB (H, W, 3), read-only; a view of the file, or decoded for this call if it is stored as JPEG."""
        stored = self._map("images")[self._image_starts[i] : self._image_starts[i + 1]]
        if not self._jpeg:
            return stored.reshape(*self.sizes[i], 3)
        image = decode_rgb(stored)
        if image is None:
            raise DataError(f"{self._path('images')}: {self.names[i]} cannot be decoded; run `isoclock prepare` again")
        image.flags.writeable = False
        return image

    def label(self, i: int) -> Pixels:
        """Train ids of image `i`: (H, W), 255 where void or unlabelled; a read-only view."""
        if "labels" not in self._files:
            return np.broadcast_to(np.uint8(IGNORE), self.sizes[i])
        return self._map("labels")[self._label_starts[i] : self._label_starts[i + 1]].reshape(self.sizes[i])

    def window(self, i: int, top: int, left: int, height: int, width: int) -> tuple[Pixels, Pixels]:
        """Image (height, width, 3) and label (height, width) of a window inside image `i`; read-only, nothing is copied."""
        rows, columns = slice(top, top + height), slice(left, left + width)
        return self.image(i)[rows, columns], self.label(i)[rows, columns]

    def _path(self, kind: str) -> Path:
        return self.folder / self._files[kind].file

    def _wrong_length(self, kind: str) -> str | None:
        path, told = self._path(kind), self._files[kind].bytes
        if not path.is_file():
            return f"{path}: not there, although {INDEX} tells of it; run `isoclock prepare` again"
        if (found := path.stat().st_size) != told:
            return f"{path}: {found} bytes, but {INDEX} tells {told}; run `isoclock prepare` again"
        return None

    def _map(self, kind: str) -> Pixels:
        if kind not in self._maps:
            self._maps[kind] = np.frombuffer(_mapped(self._path(kind)), np.uint8)
        return self._maps[kind]


def _mapped(path: Path) -> mmap.mmap:
    # Plain mmap, not np.memmap: slicing that subclass costs more than reading a crop.
    with path.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
