"""The stored values of label files, and pixels of images with 16 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from isoclock.data.loading.pixels import Pixels, decode_rgb
from isoclock.data.png import Header, png_header, without_colours
from isoclock.labels import IGNORE, ILLEGAL

if TYPE_CHECKING:
    from isoclock.data.readers.reader import Reader

_SCALED_BY = {1: 255, 2: 85, 4: 17, 8: 1}
"""Decoders stretch fewer than 8 bits to 0..255, by these factors."""


MATLAB_START = b"MATLAB 5.0 MAT-file"
_UNKNOWN_SHOWN = 5  # colours in a message


def label_values(content: bytes, reader: Reader) -> Pixels:
    """The values (H, W) stored in a label.

    A PNG label is grey or has a palette, with 1 to 8 bits: values are never scaled, and never a palette's colours. If the
    labels of the reader are colours, those of a grey, palette or RGB file are looked up. Raises ValueError for other kinds of
    PNG, where values and colours of a palette could both be the label, and for colours that the reader does not have.
    """
    if reader.from_matlab is not None and content.startswith(MATLAB_START):
        return reader.from_matlab(content)
    header = png_header(content)
    if reader.label_colours:
        return _colour_values(content, header, reader)
    if header.colours not in ("grey", "a palette") or header.bits > 8:
        raise ValueError(
            f"a label must have one 8-bit channel or a palette, but this has {header.colours}, {header.bits} bits; "
            "convert it so that each pixel has the value of its class"
            f"{', or give colours as folder.classes of the entry' if reader.name == 'folder' else ''}"
        )
    decoded = cv2.imdecode(np.frombuffer(without_colours(content), np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.ndim != 2 or decoded.dtype != np.uint8:
        raise ValueError("cannot be decoded; download it again")
    values = np.asarray(decoded if header.bits == 8 else decoded // _SCALED_BY[header.bits], np.uint8)
    if header.palette is not None:
        _check_palette(header.palette, np.flatnonzero(count_values(values)), reader)
    return values


def _colour_values(content: bytes, header: Header, reader: Reader) -> Pixels:
    colours = None if header.bits > 8 else decode_rgb(content)
    if colours is None:
        raise ValueError(
            f"a label must have colours of 8 bits, but this has {header.colours}, {header.bits} bits; convert it, or download "
            "it again"
        )
    codes = colours[..., 0].astype(np.int32)
    for channel in (1, 2):
        codes <<= 8
        codes |= colours[..., channel]
    values = reader.colour_table[codes]
    if (values == IGNORE).any():
        unknown, counts = np.unique(codes[values == IGNORE], return_counts=True)
        names = [f"#{code:06x}" for code in unknown[np.argsort(-counts, kind="stable")][:_UNKNOWN_SHOWN]]
        more = f" and {len(unknown) - len(names)} more" if len(unknown) > len(names) else ""
        what = f"colours {', '.join(names)}{more} ({counts.sum() / codes.size:.2%} of its pixels)"
        raise ValueError(
            f"{reader.unknown_problem(what)}; add them there, or restore the label if it was scaled or saved as JPEG"
        )
    return values


def _check_palette(palette: NDArray[np.uint8], used: NDArray[np.intp], reader: Reader) -> None:
    if used[-1] >= len(palette):
        raise ValueError(f"uses colour {used[-1]} of a palette of {len(palette)}; download it again")
    # Programs that make PNG files smaller turn grey into a palette: its indices are then arbitrary.
    colours = palette[used]
    grey = colours[:, 0]
    if (colours == grey[:, None]).all() and (grey != used).any() and (reader.label_table[grey] != ILLEGAL).all():
        raise ValueError(
            f"its palette has the grey values {', '.join(map(str, grey))} for the indices {', '.join(map(str, used))}, and "
            "either could be the classes; save it as 8-bit grey"
        )


def decode_rgb_16bit(content: bytes, white: int) -> Pixels | None:
    """RGB (H, W, 3) of an image with 16 bits, with `white` and larger values as 255; None if it cannot be decoded."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if pixels is None:
        return None
    return np.rint(np.minimum(pixels, white) * (255 / white)).astype(np.uint8)


def count_values(label: Pixels) -> NDArray[np.int64]:
    """Number of pixels (256,) of each value."""
    # In strips: the histogram of OpenCV, several times faster than that of NumPy, is float32, exact up to 2 ** 24.
    rows = max(1, (1 << 24) // label.shape[1])
    counts = np.zeros(256, np.int64)
    for top in range(0, label.shape[0], rows):
        counts += cv2.calcHist([label[top : top + rows]], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return counts
