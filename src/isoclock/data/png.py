"""A PNG writer whose bytes depend only on the pixels (stored deflate blocks, independent of zlib), and integrity checks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STORED = 65_535
_GREY, _RGB, _PALETTE = 0, 2, 3
_COLOURS = {0: "grey", 2: "RGB", 3: "a palette", 4: "grey with transparency", 6: "RGB with transparency"}


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (H, W) as grey or (H, W, 3) as RGB (PNG, RFC 2083; stored blocks, RFC 1951 section 3.2.4)."""
    height, width = pixels.shape[:2]
    kind = _GREY if pixels.ndim == 2 else _RGB
    rows = np.zeros((height, 1 + pixels.size // height), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", _stored(rows.tobytes())) + _chunk(b"IEND", b"")


def png_problem(content: bytes) -> str | None:
    """What is wrong with the bytes of a PNG file, or None."""
    if len(content) > 33 and content[8:16] != b"\0\0\0\x0dIHDR":
        return "damaged (does not start with its IHDR chunk)"
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


@dataclass(frozen=True)
class Header:
    """The header of a PNG file: `bits` of a channel, `colours` of a pixel in words, and the colours of its palette (N, 3)."""

    bits: int
    colours: str
    palette: NDArray[np.uint8] | None


def png_header(content: bytes) -> Header:
    """The header of a PNG file in which `png_problem` found nothing."""
    bits, kind = content[24:26]
    palette = None
    if kind == _PALETTE:
        colours = dict(_chunks(content)).get(b"PLTE", b"")
        palette = np.frombuffer(colours[: len(colours) // 3 * 3], np.uint8).reshape(-1, 3)
    return Header(bits, _COLOURS.get(kind, f"unknown colours ({kind})"), palette)


def without_colours(content: bytes) -> bytes:
    """The same grey or palette PNG as a grey one without transparency: its pixels are the stored values."""
    parts = [SIGNATURE]
    for kind, body in _chunks(content):
        if kind == b"IHDR":
            parts.append(_chunk(kind, body[:9] + bytes([_GREY]) + body[10:]))
        elif kind in (b"IDAT", b"IEND"):
            parts.append(_chunk(kind, body))
    return b"".join(parts)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(SIGNATURE)
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        yield content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        position += 12 + length


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
