"""What is wrong with a JPEG file. Decoders replace what they cannot read, and at best print a warning.

All markers are read, and every bit of the compressed data. What is still a valid file with other pixels cannot be recognised:
a file in an archive has a checksum for that.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_OTHER_FRAMES = (0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_CUT = "cut off (no end-of-image marker)"


class _Damage(Exception):
    pass


@dataclass
class _Component:
    across: int  # blocks a unit
    down: int
    quantised: int
    first: int = 0  # of its blocks
    stride: int = 0  # blocks a row
    wide: int = 0  # blocks a row and a column that have pixels
    high: int = 0
    bits_left: NDArray[np.int64] = field(default_factory=lambda: np.full(64, -1))  # of each coefficient; -1: all


@dataclass
class _File:
    data: NDArray[np.uint8]
    tables: NDArray[np.int32] = field(default_factory=lambda: np.zeros((8, 1 << 16), np.int32))
    steps: NDArray[np.int64] = field(default_factory=lambda: np.zeros((4, 64), np.int64))
    components: dict[int, _Component] = field(default_factory=dict)
    blocks: NDArray[np.int16] = field(default_factory=lambda: np.zeros((0, 64), np.int16))
    units: tuple[int, int] = (0, 0)
    between_restarts: int = 0
    progressive: bool = False


def jpeg_problem(content: bytes) -> str | None:
    """What is wrong with the bytes of a JPEG file, or None. Bytes after its end-of-image marker are ignored."""
    file = _File(np.frombuffer(content, np.uint8))
    try:
        _read(file, content)
    except _Damage as damage:
        return str(damage)
    except (struct.error, IndexError, ValueError, KeyError):
        return "damaged (a header is malformed)"
    return None


def _read(file: _File, content: bytes) -> None:
    position = 2
    while True:
        if position + 2 > len(content):
            raise _Damage(_CUT)
        if content[position] != 0xFF:
            raise _Damage("damaged (bytes that belong to nothing between its parts)")
        marker = content[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker == 0xD9:
            _check_whole(file)
            return
        if position + 4 > len(content):
            raise _Damage(_CUT)
        (length,) = struct.unpack_from(">H", content, position + 2)
        body, position = content[position + 4 : position + 2 + length], position + 2 + length
        if length < 2 or position > len(content):
            raise _Damage(_CUT if length >= 2 else "damaged (a header is malformed)")
        if marker in (*_SEQUENTIAL, _PROGRESSIVE):
            _frame(file, body, marker == _PROGRESSIVE)
        elif marker in _OTHER_FRAMES:
            raise _Damage("a kind of JPEG that cannot be checked (lossless, arithmetic or hierarchical)")
        elif marker == 0xC4:
            _huffman(file, body)
        elif marker == 0xDB:
            _quantisation(file, body)
        elif marker == 0xDD:
            (file.between_restarts,) = struct.unpack(">H", body)
        elif marker == 0xDA:
            position = _scan(file, body, position)
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            raise _Damage(f"damaged (unexpected marker {marker:02X})")


def _frame(file: _File, body: bytes, progressive: bool) -> None:
    depth, height, width, count = struct.unpack_from(">BHHB", body)
    if file.components or depth != 8 or len(body) != 6 + 3 * count or not (height and width and 1 <= count <= 4):
        raise _Damage("damaged (its frame header is malformed)")
    for at in range(6, len(body), 3):
        across, down, quantised = body[at + 1] >> 4, body[at + 1] & 15, body[at + 2]
        if not (1 <= across <= 4 and 1 <= down <= 4 and quantised < 4):
            raise _Damage("damaged (its frame header is malformed)")
        file.components[body[at]] = _Component(across, down, quantised)
    parts = file.components.values()
    most = max(part.across for part in parts), max(part.down for part in parts)
    file.units = -(-width // (8 * most[0])), -(-height // (8 * most[1]))
    file.progressive, total = progressive, 0
    for part in parts:
        part.first, part.stride = total, file.units[0] * part.across
        part.wide = -(-width * part.across // (8 * most[0]))
        part.high = -(-height * part.down // (8 * most[1]))
        total += part.stride * file.units[1] * part.down
    if progressive:
        file.blocks = np.zeros((total, 64), np.int16)


def _huffman(file: _File, body: bytes) -> None:
    at = 0
    while at < len(body):
        kind, number, lengths = body[at] >> 4, body[at] & 15, body[at + 1 : at + 17]
        symbols = body[at + 17 : at + 17 + sum(lengths)]
        if kind > 1 or number > 3 or len(lengths) != 16 or len(symbols) != sum(lengths):
            raise _Damage("damaged (a Huffman table is malformed)")
        table, code, used = np.zeros(1 << 16, np.int32), 0, 0
        for length, count in enumerate(lengths, 1):
            size = 1 << (16 - length)
            if code + size * count > 1 << 16:
                raise _Damage("damaged (a Huffman table is malformed)")
            for value in symbols[used : used + count]:
                table[code : code + size] = length << 8 | value
                code += size
            used += count
        file.tables[4 * kind + number] = table
        at += 17 + used


def _quantisation(file: _File, body: bytes) -> None:
    at = 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        steps = np.frombuffer(body, ">u2" if wide else "u1", 64, at + 1).astype(np.int64)
        if wide > 1 or number > 3 or not steps.all():
            raise _Damage("damaged (a quantisation table is malformed)")
        file.steps[number] = steps
        at += 65 + 64 * wide


def _scan(file: _File, body: bytes, position: int) -> int:
    """Read a scan; the position of the marker behind it."""
    from isoclock.data.jpeg.bits import FAULT_PROBLEMS
    from isoclock.data.jpeg.scan import read_scan

    count = body[0]
    first, last, bits = body[-3:]
    before, now = bits >> 4, bits & 15
    if len(body) != 4 + 2 * count or not 1 <= count <= 4:
        raise _Damage("damaged (a scan header is malformed)")
    if file.progressive:
        wrong = last > 63 or first > last or now > 13 or (first == 0) != (last == 0) or (first and count > 1)
    else:
        wrong = (first, last, before, now) != (0, 63, 0, 0)
    if wrong or (before and before != now + 1):
        raise _Damage("damaged (a scan header is malformed)")
    units, rows = file.units, []
    for at in range(1, 1 + 2 * count, 2):
        part = file.components[body[at]]
        mean_codes, codes = body[at + 1] >> 4, body[at + 1] & 15
        across, down = part.across, part.down
        if count == 1:
            units, across, down = (part.wide, part.high), 1, 1
        if max(mean_codes, codes) > 3 or not file.steps[part.quantised].all():
            raise _Damage("damaged (a scan uses tables that it does not have)")
        if (part.bits_left[first : last + 1] != (before or -1)).any():
            raise _Damage("damaged (a scan is missing or occurs twice)")
        part.bits_left[first : last + 1] = now
        rows.append((part.first, part.stride, across, down, mean_codes, codes, part.quantised))
    at_bits = np.array([position, 0, 0], np.int64)
    fault = read_scan(
        file.data,
        at_bits,
        np.array(rows, np.int64),
        file.tables,
        file.steps,
        file.blocks,
        np.array([first, last, before, now], np.int64),
        np.array([*units, file.between_restarts], np.int64),
        file.progressive,
    )
    if fault < 0:
        raise _Damage(f"damaged ({FAULT_PROBLEMS[fault]})")
    return int(at_bits[0])


def _check_whole(file: _File) -> None:
    if not file.components or any((part.bits_left != 0).any() for part in file.components.values()):
        raise _Damage("damaged (its end-of-image marker comes before all of its image)")
