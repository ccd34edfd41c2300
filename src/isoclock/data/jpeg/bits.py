"""The bits of a JPEG scan, compiled with numba: Huffman codes and the numbers that follow them (ITU-T T.81, annex F).

`at` has the state: the position of the next byte, the bits that were read and not used, and their number. A negative result
is a fault, one of the constants below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

ENDS_EARLY, BAD_CODE, TOO_LONG, OUT_OF_RANGE, LEFT_OVER = -100_001, -100_002, -100_003, -100_004, -100_005
FAULT_PROBLEMS = {
    ENDS_EARLY: "its compressed data end too early",
    BAD_CODE: "its compressed data have an invalid code",
    TOO_LONG: "a block has more than 64 coefficients",
    OUT_OF_RANGE: "a block has a coefficient that no pixels can have",
    LEFT_OVER: "its compressed data are longer than its image",
}

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """The function compiled at its first call, cached next to this file or in the user's cache folder if one is writable."""
    try:
        return cast(Function, numba.njit(function, nogil=True, cache=True))
    except RuntimeError:
        return cast(Function, numba.njit(function, nogil=True))


@compiled
def fill(data: Any, at: Any, wanted: int) -> None:
    """Read bytes until `wanted` bits (at most 16) are there or a marker follows. FF 00 stands for FF."""
    while at[2] < wanted and at[0] < data.size:
        byte = np.int64(data[at[0]])
        if byte == 0xFF:
            if at[0] + 1 >= data.size or data[at[0] + 1] != 0:
                return
            at[0] += 1
        at[0] += 1
        at[1] = ((at[1] & 0xFFFFFF) << 8) | byte
        at[2] += 8


@compiled
def bits(data: Any, at: Any, count: int) -> int:
    """The next `count` bits (at most 16) as a number."""
    fill(data, at, count)
    if at[2] < count:
        return ENDS_EARLY
    at[2] -= count
    return (at[1] >> at[2]) & ((1 << count) - 1)


@compiled
def symbol(data: Any, at: Any, table: Any) -> int:
    """The next Huffman code's symbol. `table` has, for each 16 bits, 256 times the length of the code plus its symbol."""
    fill(data, at, 16)
    word = at[1] >> (at[2] - 16) if at[2] >= 16 else at[1] << (16 - at[2])
    found = np.int64(table[word & 0xFFFF])
    length = found >> 8
    if length > at[2]:
        return ENDS_EARLY
    if length == 0:
        return ENDS_EARLY if at[2] < 16 else BAD_CODE
    at[2] -= length
    return int(found & 0xFF)


@compiled
def number(data: Any, at: Any, size: int) -> int:
    """The signed number of `size` bits that follows a symbol, or ENDS_EARLY."""
    if size == 0:
        return 0
    found = bits(data, at, size)
    if found >= 0 and found < 1 << (size - 1):
        return found - (1 << size) + 1
    return found


@compiled
def end_of_segment(data: Any, at: Any) -> int:
    """0 if only padding (all ones, or all zeros) is left before the next marker, else LEFT_OVER. Moves to the marker."""
    if at[2] >= 8:
        return LEFT_OVER
    rest = at[1] & ((1 << at[2]) - 1)
    if rest not in (0, (1 << at[2]) - 1):
        return LEFT_OVER
    at[2] = 0
    if at[0] + 1 >= data.size:
        return ENDS_EARLY
    if data[at[0]] != 0xFF or data[at[0] + 1] == 0:
        return LEFT_OVER
    while at[0] + 1 < data.size and data[at[0] + 1] == 0xFF:
        at[0] += 1
    return 0 if at[0] + 1 < data.size else ENDS_EARLY
