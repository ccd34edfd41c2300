"""Bilinear interpolation of a crop of uint8 RGB pixels, compiled with numba.

It uses 16-bit integers, which is fast and gives the same bytes on every machine. A value differs from exact rounding by at
most one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from isoclock.data.loading.pixels import Pixels

SHARES = 1 << 14
"""The weight that means 1: twice 7 bits."""
_HALF = 7  # bits of half a weight, and fractional bits of a value between the two blends
_LOW = (1 << _HALF) - 1


def near_and_share(at: NDArray[np.floating[Any]], count: int) -> tuple[NDArray[np.intp], NDArray[np.int16]]:
    """For points between `count` pixels: the pixel before each point, and the weight (of SHARES) of the next pixel.

    Points beyond an end are clipped to that end.
    """
    inside = np.clip(at, 0, count - 1)
    near = np.floor(inside)
    share = np.minimum(np.rint((inside - near) * SHARES), SHARES - 1)
    return near.astype(np.intp), share.astype(np.int16)


def reference(
    image: Pixels, rows: NDArray[np.intp], down: NDArray[np.int16], columns: NDArray[np.intp], across: NDArray[np.int16]
) -> Pixels:
    """A plain implementation of `blend`: (len(rows), len(columns), 3) of an image (H, W, 3)."""
    last_row, last_column = image.shape[0] - 1, image.shape[1] - 1
    fine = image.astype(np.int32) << _HALF
    blended = _mix(fine[rows], fine[np.minimum(rows + 1, last_row)], down[:, None, None])
    blended = _mix(blended[:, columns], blended[:, np.minimum(columns + 1, last_column)], across[None, :, None])
    return ((blended + (1 << (_HALF - 1))) >> _HALF).astype(np.uint8)


def _mix(near: NDArray[np.int32], far: NDArray[np.int32], share: NDArray[Any]) -> NDArray[np.int32]:
    """near + (far - near) share / SHARES, in halves whose products fit 16 bits; the product of the low halves is dropped."""
    apart = far - near
    high, low, share_high, share_low = apart >> _HALF, apart & _LOW, share >> _HALF, share & _LOW
    return near + high * share_high + ((high * share_low) >> _HALF) + ((low * share_high) >> _HALF)


def blend(
    image: Pixels,
    rows: NDArray[np.intp],
    down: NDArray[np.int16],
    columns: NDArray[np.intp],
    across: NDArray[np.int16],
    out: Pixels,
    top: int,
    left: int,
) -> None:
    """Write the pixels at (rows + down, columns + across) to `out`, starting at its pixel (top, left).

    image (h, 3w) and out (H, 3W) are uint8 rows of pixels; rows (n,) and columns (m,) are from `near_and_share`.
    """
    compiled()(image, rows, down, columns, across, out, top, left)


@lru_cache(maxsize=1)
def compiled() -> Callable[..., None]:
    """`blend`, compiled once for this processor. The code is cached next to this file, or in the user's cache folder.

    Call it before loader processes are started, or each of them compiles. An evaluation does not need it, nor numba.
    """
    import numba

    # With explicit types it is compiled here, not at the first call, which may be inside a measurement.
    window = numba.types.Array(numba.uint8, 2, "A", readonly=True)
    axis = numba.intp[::1], numba.int16[::1]
    types = numba.void(window, *axis, *axis, numba.uint8[:, ::1], numba.intp, numba.intp)
    try:
        return cast(Callable[..., None], numba.njit(types, nogil=True, cache=True)(_blend))
    except RuntimeError:  # neither folder is writable: every process compiles for itself
        return cast(Callable[..., None], numba.njit(types, nogil=True)(_blend))


def _blend(image: Any, rows: Any, down: Any, columns: Any, across: Any, out: Any, top: int, left: int) -> None:
    # Each value is cast to 16 bits: numba widens results to 64 bits, and SIMD then handles a quarter as many at a time.
    wanted, given, last = columns.size, image.shape[1] // 3, image.shape[0] - 1
    row = np.empty(3 * given, np.int16)
    # With a fourth value a pixel has 64 bits and is loaded at once. One more pixel, because the last one needs a neighbour.
    four = np.zeros(4 * (given + 1), np.int16)
    pixels = four.view(np.uint64)
    near, far = np.empty(wanted, np.uint64), np.empty(wanted, np.uint64)
    near_four, far_four = near.view(np.int16), far.view(np.int16)
    share = np.repeat(across, 4)
    share_high, share_low = (share >> _HALF).astype(np.int16), (share & _LOW).astype(np.int16)
    mixed = np.empty(4 * wanted, np.uint8)
    at = columns.astype(np.uintp)
    for k in range(rows.size):
        upper, lower = image[rows[k]], image[min(rows[k] + 1, last)]
        down_high, down_low = np.int16(down[k] >> _HALF), np.int16(down[k] & _LOW)
        for i in range(3 * given):
            here = np.int16(upper[i])
            apart = np.int16(np.int16(lower[i]) - here)  # integers: the low half is zero
            more = np.int16(np.int16(apart * down_low) >> _HALF)
            row[i] = np.int16(np.int16(here << _HALF) + np.int16(np.int16(apart * down_high) + more))
        for i in range(given):
            four[4 * i] = row[3 * i]
            four[4 * i + 1] = row[3 * i + 1]
            four[4 * i + 2] = row[3 * i + 2]
            four[4 * i + 3] = 0  # already zero, but the compiler vectorises only if all four are written
        for i in range(wanted):
            near[i] = pixels[at[i]]
            far[i] = pixels[at[i] + np.uintp(1)]
        for i in range(4 * wanted):
            here = near_four[i]
            apart = np.int16(far_four[i] - here)
            high, low = np.int16(apart >> _HALF), np.int16(apart & _LOW)
            most = np.int16(high * share_high[i])
            more = np.int16(np.int16(high * share_low[i]) >> _HALF)
            rest = np.int16(np.int16(low * share_high[i]) >> _HALF)
            mixed[i] = np.uint8(np.int16(here + most + more + rest + (1 << (_HALF - 1))) >> _HALF)
        line = out[top + k, 3 * left :]
        for i in range(wanted):
            line[3 * i] = mixed[4 * i]
            line[3 * i + 1] = mixed[4 * i + 1]
            line[3 * i + 2] = mixed[4 * i + 2]
