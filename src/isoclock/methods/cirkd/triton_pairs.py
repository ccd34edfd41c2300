"""The two passes of CIRKD's mini-batch term as Triton kernels: similarities stay in registers, in the style of flash attention.

No map of similarities is written. A program owns some rows, goes through all columns, and writes its own result, so that the
order of every sum is fixed. Products take bfloat16, float16 or float32 (as TF32) and are added up in float32.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from isoclock.methods.cirkd.divergence import SUMS

LOG2_E: tl.constexpr = tl.constexpr(math.log2(math.e))
LN_2: tl.constexpr = tl.constexpr(math.log(2))


class Blocks(NamedTuple):
    """Powers of two: the side of a tile of pass one, rows and columns of a tile of pass two, channels of one step of a
    product, and channels of one part of the gradient.
    """

    side: int
    rows: int
    columns: int
    step: int
    part: int

    @classmethod
    def of(cls, ours: Tensor) -> Blocks:
        """For rows (R, C): accumulators of at most 128 registers a thread, shared memory below 99 KiB (capability 8.6)."""
        step = 128 // ours.element_size()
        part = max(step, min(512, triton.next_power_of_2(ours.shape[1])))
        return cls(side=128, rows=min(128, (1 << 14) // part), columns=step, step=step, part=part)


def sums(ours: Tensor, theirs: Tensor, images: int) -> Tensor:
    """What `divergence` needs, float32 (SUMS, images, R): sums over the pixels of each image j for each row r.

    ours (R, C_S), theirs (R, C_T): rows of all images, one image after the other; S = ours ours^t, T = theirs theirs^t.
    """
    blocks = Blocks.of(ours)
    ours, theirs = (_padded(rows, blocks.step) for rows in (ours, theirs))
    pixels = len(ours) // images
    result = torch.empty(SUMS, images, len(ours), dtype=torch.float32, device=ours.device)
    grid = (triton.cdiv(pixels, blocks.side), images, images)
    sizes = (pixels, images, ours.shape[1], theirs.shape[1], blocks.side, blocks.step)
    with torch.cuda.device_of(ours):
        _sums_kernel[grid](ours, theirs, result, *sizes, num_warps=8)
    return result


def gradient(ours: Tensor, theirs: Tensor, inverse: Tensor) -> Tensor:
    """(G + G^t) ours, float32 (R, C_S), with G_rc = exp(S_rc) inverse[0, j, r] - exp(T_rc) inverse[1, j, r], c in image j.

    inverse: float32 (2, images, R). G is rounded to the type of `ours`.
    """
    blocks, channels = Blocks.of(ours), ours.shape[1]
    ours, theirs = _padded(ours, blocks.part), _padded(theirs, blocks.step)
    images, rows = inverse.shape[1:]
    result = torch.empty(ours.shape, dtype=torch.float32, device=ours.device)
    grid = (triton.cdiv(rows // images, blocks.rows), images, ours.shape[1] // blocks.part)
    sizes = (rows // images, images, ours.shape[1], theirs.shape[1], *blocks[1:])
    with torch.cuda.device_of(ours):
        _gradient_kernel[grid](ours, theirs, inverse.contiguous(), result, *sizes, num_warps=8)
    return result[:, :channels]


def _padded(rows: Tensor, multiple: int) -> Tensor:
    """Contiguous rows, with zeros up to a multiple of channels: they add nothing to a product."""
    missing = -rows.shape[1] % multiple
    return F.pad(rows, (0, missing)) if missing else rows.contiguous()


@triton.jit
def _similarities(left: tl.tensor, right: tl.tensor, CHANNELS: tl.constexpr, STEP: tl.constexpr) -> tl.tensor:
    """Inner products times log2 e, of the rows that begin at the pointers `left` (n, 1) and `right` (1, m)."""
    total = tl.zeros((left.shape[0], right.shape[1]), tl.float32)
    for first in range(0, CHANNELS, STEP):
        channels = first + tl.arange(0, STEP)
        a, b = tl.load(left + channels[None, :]), tl.load(right + channels[:, None])
        total = tl.dot(a, b, total, input_precision="tf32")
    return total * LOG2_E


@triton.jit
def _sums_kernel(
    ours: tl.tensor,
    theirs: tl.tensor,
    sums: tl.tensor,
    pixels: tl.tensor,
    images: tl.tensor,
    OURS: tl.constexpr,
    THEIRS: tl.constexpr,
    SIDE: tl.constexpr,
    STEP: tl.constexpr,
) -> None:
    """Sums of `SIDE` rows of image i over image j. Program ids: block of rows, i, j."""
    i, j = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    rows = tl.program_id(0) * SIDE + tl.arange(0, SIDE)
    safe = tl.minimum(rows, pixels - 1)[:, None]
    of_student = tl.zeros((SIDE,), tl.float32)
    of_teacher = tl.zeros((SIDE,), tl.float32)
    of_gap = tl.zeros((SIDE,), tl.float32)
    of_rest = tl.zeros((SIDE,), tl.float32)
    for first in range(0, pixels, SIDE):
        columns = (first + tl.arange(0, SIDE))[None, :]
        there = tl.minimum(columns, pixels - 1)
        s = _similarities(ours + (i * pixels + safe) * OURS, ours + (j * pixels + there) * OURS, OURS, STEP)
        t = _similarities(theirs + (i * pixels + safe) * THEIRS, theirs + (j * pixels + there) * THEIRS, THEIRS, STEP)
        u = (s - t) * LN_2
        s = tl.where(columns < pixels, tl.exp2(s), 0.0)
        t = tl.where(columns < pixels, tl.exp2(t), 0.0)
        # phi(u) = exp(u) - 1 - u, by its series where its first digits would cancel
        series = u * u * (1 / 2 + u * (1 / 6 + u * (1 / 24 + u * (1 / 120 + u * (1 / 720)))))
        of_student += tl.sum(s, 1)
        of_teacher += tl.sum(t, 1)
        of_gap += tl.sum(t * u, 1)
        of_rest += tl.sum(tl.where(tl.abs(u) < 0.25, t * series, s - t - t * u), 1)
    length = tl.cast(pixels, tl.int64) * images
    place = sums + (j * length + i * pixels + rows)
    tl.store(place, of_student, mask=rows < pixels)
    tl.store(place + images * length, of_teacher, mask=rows < pixels)
    tl.store(place + 2 * images * length, of_gap, mask=rows < pixels)
    tl.store(place + 3 * images * length, of_rest, mask=rows < pixels)


@triton.jit
def _gradient_kernel(
    ours: tl.tensor,
    theirs: tl.tensor,
    inverse: tl.tensor,
    gradient: tl.tensor,
    pixels: tl.tensor,
    images: tl.tensor,
    OURS: tl.constexpr,
    THEIRS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEP: tl.constexpr,
    PART: tl.constexpr,
) -> None:
    """`ROWS` rows of image i of (G + G^t) X, in `PART` channels. Program ids: block of rows, i, part."""
    i = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    safe = i * pixels + tl.minimum(rows, pixels - 1)
    channels = tl.program_id(2) * PART + tl.arange(0, PART)[None, :]
    length = tl.cast(pixels, tl.int64) * images
    total = tl.zeros((ROWS, PART), tl.float32)
    for j in range(0, images):
        of_rows = tl.load(inverse + j * length + safe)[:, None]
        of_rows_t = tl.load(inverse + (images + j) * length + safe)[:, None]
        for first in range(0, pixels, COLUMNS):
            columns = first + tl.arange(0, COLUMNS)
            there = j * tl.cast(pixels, tl.int64) + tl.minimum(columns, pixels - 1)
            of_columns = tl.load(inverse + i * length + there)[None, :]
            of_columns_t = tl.load(inverse + (images + i) * length + there)[None, :]
            s = _similarities(ours + safe[:, None] * OURS, ours + there[None, :] * OURS, OURS, STEP)
            t = _similarities(theirs + safe[:, None] * THEIRS, theirs + there[None, :] * THEIRS, THEIRS, STEP)
            both = tl.exp2(s) * (of_rows + of_columns) - tl.exp2(t) * (of_rows_t + of_columns_t)
            both = tl.where(columns[None, :] < pixels, both, 0.0)
            values = tl.load(ours + there[:, None] * OURS + channels)
            total = tl.dot(both.to(values.dtype), values, total, input_precision="tf32")
    tl.store(gradient + (i * pixels + rows)[:, None] * OURS + channels, total, mask=rows[:, None] < pixels)
