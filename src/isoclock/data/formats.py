"""Kinds of image files: the size that a PNG or JPEG file declares, and what to do with a file of another kind."""

from __future__ import annotations

import re
import struct

from isoclock.data.png import SIGNATURE

JPEG_START = b"\xff\xd8"
OTHER_SUFFIXES = (".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".jxl", ".heic", ".avif", ".ppm", ".pgm")
CONVERT = "convert it to PNG (docs/data.md has a command)"

_OTHER_KINDS = {
    "a TIFF file": rb"II[*+]\0|MM\0[*+]",
    "a BMP file": rb"BM",
    "a GIF file": rb"GIF8",
    "a WebP file": rb"RIFF....WEBP",
    "a JPEG 2000 or JPEG XL file": rb"\0\0\0\x0c(jP  |JXL )|\xff\x4f\xff\x51|\xff\x0a",
    "a HEIF or AVIF file": rb"....ftyp",
    "a Netpbm file": rb"P[1-7]\s",
}
_LFS_POINTER = b"version https://git-lfs"
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of JPEG headers with a size


def kind_problem(content: bytes) -> str | None:
    """Why a file is not read, and what to do, from its first bytes; None for PNG and JPEG files."""
    if content.startswith((SIGNATURE, JPEG_START)):
        return None
    if content.startswith(_LFS_POINTER):
        return "a git-lfs pointer instead of the file (run `git lfs pull`)"
    for kind, start in _OTHER_KINDS.items():
        if re.match(start, content, re.DOTALL):
            return f"{kind}, and only PNG and JPEG are read; {CONVERT}"
    return f"{'neither PNG nor JPEG' if content else 'empty'}; download it again"


def image_size(head: bytes) -> tuple[int, int] | None:
    """(height, width) that the first bytes of a PNG or JPEG file declare; None if they contain no size above 0."""
    height = width = 0
    if head.startswith(SIGNATURE) and len(head) >= 24:
        width, height = struct.unpack_from(">II", head, 16)
    elif head.startswith(JPEG_START):
        at = 2
        while at + 9 <= len(head) and head[at] == 0xFF and head[at + 1] not in _FRAMES:
            at += 1 if head[at + 1] == 0xFF else 2 + int.from_bytes(head[at + 2 : at + 4])
        if at + 9 <= len(head) and head[at] == 0xFF:
            height, width = struct.unpack_from(">HH", head, at + 5)
    return (height, width) if height and width else None
