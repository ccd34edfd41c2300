"""The task loss as a Triton kernel: upsampling, cross-entropy and gradient in one pass over the logits.

A cell is the area between four neighbouring logits, with the pixels that are interpolated from these four. One program
computes one cell: it reads four columns of K logits, and writes the cell's loss and its part of the gradient of each of
the four. Every logit then adds the parts of its four cells, in a fixed order: results are the same in every run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 2048  # elements of pixels times classes that a program holds in registers
_LARGEST_CELL = 256  # pixels


def fits(size: Sequence[int], full: Sequence[int]) -> bool:
    """Whether the kernel computes logits of `size` (h, w) for labels of `full` size: enlarged, up to 16 times a side."""
    return all(small <= large for small, large in zip(size, full, strict=True)) and _pixels(size, full) <= _LARGEST_CELL


@torch.library.custom_op("isoclock::upsampled_cross_entropy", mutates_args=())
def upsampled_cross_entropy(
    logits: Tensor, classes: Tensor, shares: Tensor, wants_gradient: bool
) -> tuple[Tensor, Tensor]:
    """Loss (), and its gradient in the layout of the logits (no elements without `wants_gradient`), both float32.

    logits (B, K, h, w) of 16 or 32 bits in any layout; classes (B, H, W) int64 and shares (B, H, W) float32 as in
    `isoclock.training.task_loss.Labels`. A class that is not below K makes the loss NaN.
    """
    classes, shares = classes.contiguous(), shares.contiguous()
    images, count, height, width = logits.shape
    full = (classes.shape[1], classes.shape[2])
    cells = (images, height + 1, width + 1)
    pixels = max(16, triton.next_power_of_2(_pixels((height, width), full)))
    losses = torch.empty(cells, dtype=torch.float32, device=logits.device)
    # Of the upper left, upper right, lower left and lower right logit of each cell.
    parts = losses.new_empty((4, *cells, count) if wants_gradient else (0,))
    with torch.cuda.device_of(logits):
        _cell_kernel[(losses.numel(),)](
            logits,
            classes,
            shares,
            losses,
            parts,
            *logits.stride(),
            count,
            height,
            width,
            *full,
            MOST_COLUMNS=_most(width, full[1]),
            PIXELS=pixels,
            CLASSES=min(triton.next_power_of_2(count), _TILE // pixels),
            WANTS_GRADIENT=wants_gradient,
        )
    gradient = _empty_gradient(logits, wants_gradient)
    if wants_gradient:
        upper = parts[3, :, :-1, :-1] + parts[2, :, :-1, 1:]  # of the cells above a logit, where it is a lower corner
        lower = parts[1, :, 1:, :-1] + parts[0, :, 1:, 1:]
        torch.add(upper.permute(0, 3, 1, 2), lower.permute(0, 3, 1, 2), out=gradient)
    return losses.sum(dtype=torch.float64).to(torch.float32), gradient


@upsampled_cross_entropy.register_fake
def _(logits: Tensor, classes: Tensor, shares: Tensor, wants_gradient: bool) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return shares.new_empty(()), _empty_gradient(logits, wants_gradient)


def _empty_gradient(logits: Tensor, wants_gradient: bool) -> Tensor:
    return torch.empty_like(logits if wants_gradient else logits.new_empty(0), dtype=torch.float32)


def _most(size: int, full: int) -> int:
    """Pixels of the largest cell along one side."""
    return -(-full // size)


def _pixels(size: Sequence[int], full: Sequence[int]) -> int:
    return _most(size[0], full[0]) * _most(size[1], full[1])


@triton.jit
def _first_pixel(cell: tl.tensor, size: tl.tensor, full: tl.tensor) -> tl.tensor:
    """The first pixel of a cell along one side; pixel y lies at ((2 y + 1) size - full) / (2 full) in units of logits."""
    return tl.minimum(full, tl.maximum(0, ((2 * cell - 1) * full + size - 1) // (2 * size)))


@triton.jit
def _fraction(pixel: tl.tensor, cell: tl.tensor, size: tl.tensor, full: tl.tensor) -> tl.tensor:
    """Weight of the second of a cell's two logits: exact before it is rounded. Cells at the edge have one logit."""
    fraction = ((2 * pixel + 1) * size - full - (cell - 1) * 2 * full).to(tl.float32) / (2 * full)
    return tl.where(cell == 0, 1.0, tl.where(cell == size, 0.0, fraction))


@triton.jit
def _scores(
    upper: tl.tensor,
    lower: tl.tensor,
    left: tl.tensor,
    right: tl.tensor,
    k: tl.tensor,
    count: tl.tensor,
    stride: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
) -> tl.tensor:
    """Interpolated logits (pixels, classes), -inf past the last class."""
    known = k < count
    a = tl.load(upper + left + k * stride, mask=known, other=0.0).to(tl.float32)[None, :]
    b = tl.load(upper + right + k * stride, mask=known, other=0.0).to(tl.float32)[None, :]
    c = tl.load(lower + left + k * stride, mask=known, other=0.0).to(tl.float32)[None, :]
    d = tl.load(lower + right + k * stride, mask=known, other=0.0).to(tl.float32)[None, :]
    above = a + (b - a) * across[:, None]
    below = c + (d - c) * across[:, None]
    return tl.where(known[None, :], above + (below - above) * down[:, None], float("-inf"))


@triton.jit
def _cell_kernel(
    logits: tl.tensor,
    classes: tl.tensor,
    shares: tl.tensor,
    losses: tl.tensor,
    parts: tl.tensor,
    image_stride: tl.tensor,
    class_stride: tl.tensor,
    row_stride: tl.tensor,
    column_stride: tl.tensor,
    count: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    full_height: tl.tensor,
    full_width: tl.tensor,
    MOST_COLUMNS: tl.constexpr,
    PIXELS: tl.constexpr,
    CLASSES: tl.constexpr,
    WANTS_GRADIENT: tl.constexpr,
) -> None:
    """Loss of one cell, and its part of the gradient of its four logits."""
    cell = tl.program_id(0).to(tl.int64)
    cells = tl.num_programs(0).to(tl.int64)
    column = (cell % (width + 1)).to(tl.int32)
    row = ((cell // (width + 1)) % (height + 1)).to(tl.int32)
    image = cell // ((width + 1) * (height + 1))

    pixel = tl.arange(0, PIXELS)
    y = _first_pixel(row, height, full_height) + pixel // MOST_COLUMNS
    x = _first_pixel(column, width, full_width) + pixel % MOST_COLUMNS
    inside = (y < _first_pixel(row + 1, height, full_height)) & (x < _first_pixel(column + 1, width, full_width))
    down = _fraction(y, row, height, full_height)
    across = _fraction(x, column, width, full_width)
    place = (image * full_height + y) * full_width + x
    chosen = tl.load(classes + place, mask=inside, other=0)
    share = tl.load(shares + place, mask=inside, other=0.0)

    base = logits + image * image_stride
    upper = base + tl.maximum(row - 1, 0).to(tl.int64) * row_stride
    lower = base + tl.minimum(row, height - 1).to(tl.int64) * row_stride
    left = tl.maximum(column - 1, 0).to(tl.int64) * column_stride
    right = tl.minimum(column, width - 1).to(tl.int64) * column_stride

    top = tl.full((PIXELS,), float("-inf"), tl.float32)
    total = tl.zeros((PIXELS,), tl.float32)
    of_chosen = tl.zeros((PIXELS,), tl.float32)
    for start in range(0, count, CLASSES):
        k = start + tl.arange(0, CLASSES)
        scores = _scores(upper, lower, left, right, k, count, class_stride, down, across)
        higher = tl.maximum(top, tl.max(scores, 1))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(scores - higher[:, None]), 1)
        top = higher
        of_chosen += tl.sum(tl.where(k[None, :] == chosen[:, None], scores, 0.0), 1)
    of_chosen = tl.where(chosen < count, of_chosen, float("nan"))
    loss = share * (tl.log(total) + (top - of_chosen))
    tl.store(losses + cell, tl.sum(tl.where(inside, loss, 0.0), 0))

    if WANTS_GRADIENT:
        scale = tl.where(inside, share / total, 0.0)
        for start in range(0, count, CLASSES):
            k = start + tl.arange(0, CLASSES)
            scores = _scores(upper, lower, left, right, k, count, class_stride, down, across)
            slope = tl.exp(scores - top[:, None]) * scale[:, None]
            slope -= tl.where(k[None, :] == chosen[:, None], share[:, None], 0.0)
            below = slope * down[:, None]
            above = slope - below
            of_lower_right = tl.sum(below * across[:, None], 0)
            of_upper_right = tl.sum(above * across[:, None], 0)
            out = parts + cell * count + k
            step = cells * count
            known = k < count
            tl.store(out, tl.sum(above, 0) - of_upper_right, mask=known)
            tl.store(out + step, of_upper_right, mask=known)
            tl.store(out + 2 * step, tl.sum(below, 0) - of_lower_right, mask=known)
            tl.store(out + 3 * step, of_lower_right, mask=known)
