"""A PNG writer whose bytes depend only on the pixels (stored deflate blocks, independent of zlib), and integrity checks."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LFS_POINTER = b"version https://git-lfs"
_STORED = 65_535
_GREY, _RGB = 0, 2


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (H, W) as grey or (H, W, 3) as RGB (PNG, RFC 2083; stored blocks, RFC 1951 section 3.2.4)."""
    height, width = pixels.shape[:2]
    kind = _GREY if pixels.ndim == 2 else _RGB
    rows = np.zeros((height, 1 + pixels.size // height), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", _stored(rows.tobytes())) + _chunk(b"IEND", b"")


def png_problem(content: bytes) -> str | None:
    """What is wrong with the bytes of a PNG file, or None; JPEG files have a module of their own."""
    if content.startswith(SIGNATURE):
        return _png_problem(content)
    if content.startswith(_LFS_POINTER):
        return "a git-lfs pointer instead of the file (run `git lfs pull`)"
    return "empty" if not content else "neither PNG nor JPEG"


def _png_problem(content: bytes) -> str | None:
    position = len(SIGNATURE)
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 8 + length
        if end + 4 > len(content):
            break
        if zlib.crc32(content[position + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            return f"damaged (checksum of its {content[position + 4 : position + 8].decode('latin-1')} chunk is wrong)"
        if content[position + 4 : position + 8] == b"IEND":
            return None
        position = end + 4
    return "cut off (ends before its IEND chunk)"


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _stored(raw: bytes) -> bytes:
    blocks = [raw[at : at + _STORED] for at in range(0, len(raw), _STORED)]
    parts = [b"\x78\x01"]
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    parts.append(struct.pack(">I", zlib.adler32(raw)))
    return b"".join(parts)
