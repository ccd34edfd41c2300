"""Pixels of a packed split: raw uint8 images and train ids, memory-mapped, so that a crop reads only the pixels it needs.

A split that is stored as JPEG holds the encoded images one behind the other; an image is decoded each time it is read.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from isoclock.errors import DataError
from isoclock.labels import IGNORE

Pixels = NDArray[np.uint8]


def decode_rgb(content: bytes | Pixels) -> Pixels | None:
    """The pixels of an image file: RGB (H, W, 3), also for a grey file, never rotated; None if it cannot be decoded."""
    # Grey becomes three equal channels. A label has no orientation, so that of the image must not count either.
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    return None if pixels is None else np.asarray(pixels, np.uint8)


class SplitPixels:
    """Images and labels of one split, by number. Files are mapped on first use in each process: pickling it is cheap.

    `paths` has the files `images` and, if the split has any, `labels`. `names`, `sizes` ((height, width) each) and
    `labelled` have one entry per image, and so has `image_bytes`, which is None where images are stored raw.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        names: Sequence[str],
        sizes: Sequence[tuple[int, int]],
        labelled: Sequence[bool],
        image_bytes: Sequence[int] | None = None,
    ) -> None:
        self.names, self.sizes, self.labelled = names, sizes, labelled
        self._paths, self._jpeg = paths, image_bytes is not None
        self._maps: dict[str, Pixels] = {}
        pixels = [height * width for height, width in sizes]
        self._label_starts = [0, *accumulate(pixels)]
        self._image_starts = [0, *accumulate(image_bytes or (3 * count for count in pixels))]

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self) -> dict[str, object]:
        # A map cannot be pickled: each worker opens its own.
        return {**self.__dict__, "_maps": {}}

    def image(self, i: int) -> Pixels:
        """Image `i`: RGB (H, W, 3), read-only; a view of the file, or decoded for this call if it is stored as JPEG.

        Raises DataError for a JPEG that cannot be decoded.
        """
        stored = self._map("images")[self._image_starts[i] : self._image_starts[i + 1]]
        if not self._jpeg:
            return stored.reshape(*self.sizes[i], 3)
        image = decode_rgb(stored)
        if image is None:
            raise DataError(f"{self._paths['images']}: {self.names[i]} cannot be decoded; run `isoclock prepare` again")
        image.flags.writeable = False
        return image

    def label(self, i: int) -> Pixels:
        """Train ids of image `i`: (H, W), 255 where void or unlabelled; a read-only view."""
        if "labels" not in self._paths:
            return np.broadcast_to(np.uint8(IGNORE), self.sizes[i])
        return self._map("labels")[self._label_starts[i] : self._label_starts[i + 1]].reshape(self.sizes[i])

    def window(self, i: int, top: int, left: int, height: int, width: int) -> tuple[Pixels, Pixels]:
        """Image (height, width, 3) and label (height, width) of a window inside image `i`; read-only, nothing is copied."""
        rows, columns = slice(top, top + height), slice(left, left + width)
        return self.image(i)[rows, columns], self.label(i)[rows, columns]

    def _map(self, kind: str) -> Pixels:
        if kind not in self._maps:
            self._maps[kind] = np.frombuffer(_mapped(self._paths[kind]), np.uint8)
        return self._maps[kind]


def _mapped(path: Path) -> mmap.mmap:
    # Plain mmap, not np.memmap: slicing that subclass costs more than reading a crop.
    with path.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
