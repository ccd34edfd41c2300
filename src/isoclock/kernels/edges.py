"""Where classes meet: for each class and grid cell, the share of pixels near its boundary, from the label map."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.labels import IGNORE

WORD = 32  # classes in one integer
ONES, LOW_HALVES = 0x11111111, 0x0F0F0F0F  # one bit, or four, of every four or eight


def edge_masks(
    target: Tensor, num_classes: int, size: tuple[int, int], radius: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Edge shares (B, K, h, w) and labelled shares (B, 1, h, w) in [0, 1] of `target` (B, H, W), as published.

    A labelled pixel is on the edge of class c if c occurs in its window of side 2 `radius` + 1 and does not fill it:
    dilation minus erosion of the class's one-hot map. Unlabelled pixels are of no class, so they erode; the area
    beyond the image does not. The average over a cell is multiplied by the cell's labelled share.
    """
    known = (target >= 0) & (target < num_classes)
    one_hot = F.one_hot(torch.where(known, target.long(), 0), num_classes).permute(0, 3, 1, 2).float()
    one_hot = one_hot * known[:, None].float()
    side = 2 * radius + 1
    dilated = F.max_pool2d(one_hot, side, stride=1, padding=radius)
    eroded = 1 - F.max_pool2d(1 - one_hot, side, stride=1, padding=radius)
    edges = ((dilated - eroded) * known[:, None].float()).to(dtype)
    labelled = _cell_means(known[:, None].to(dtype), size)
    return _cell_means(edges, size) * labelled, labelled


def fast_edge_masks(
    target: Tensor, num_classes: int, size: tuple[int, int], radius: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The same numbers from sets of classes: one bit a class, 32 in an integer, no map of a class at full resolution.

    A window's set is the union of its pixels' sets, and a window is all of one class where its least label is also
    its greatest. The pixels of a cell are counted for 32 classes at once, in fields of four bits and then of eight.
    """
    height, width = target.shape[1] // size[0], target.shape[2] // size[1]
    whole = target.shape[1:] == (height * size[0], width * size[1])
    if not whole or height > 15 or height * width > 255:  # the fields would overflow; output stride 8 is 64 pixels
        return edge_masks(target, num_classes, size, radius, dtype)
    images, words = len(target), -(-num_classes // WORD)
    none = num_classes if target.dtype != torch.uint8 else min(num_classes, IGNORE)
    labels = target if target.dtype == torch.uint8 else torch.where(target < 0, none, target)
    labels = labels.clamp(max=none)
    known = labels < none
    labels = _beyond_border(labels if labels.dtype == torch.uint8 else labels.to(torch.int16), radius)
    mixed = _over_window(labels, radius, torch.minimum) != _over_window(labels, radius, torch.maximum)
    mixed &= known
    present = _over_window(_sets(labels.int(), words), radius, torch.bitwise_or)
    present &= mixed.int().neg_()  # all bits, or none
    counts = _counts(present.view(words, images, size[0], height, -1), width)
    labelled = known.view(images, size[0], height, size[1], width).sum((2, 4)).to(dtype)[:, None] / (height * width)
    # Classes in the order in which the fields hold them: word, byte, bit. Those above K are not read.
    edges = counts.permute(2, 1, 5, 0, 3, 4).flatten(1, 3)[:, :num_classes].to(dtype)
    return edges.mul_(labelled / (height * width)), labelled


def _cell_means(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Averages over the pixels of each grid cell; cells overlap if the sides are not multiples."""
    height, width = maps.shape[-2] // size[0], maps.shape[-1] // size[1]
    if maps.shape[-2:] == (height * size[0], width * size[1]):
        return F.avg_pool2d(maps, (height, width))
    return F.adaptive_avg_pool2d(maps, size)


def _beyond_border(labels: Tensor, radius: int) -> Tensor:
    """Border pixels repeated `radius` times: a window over them holds the same labels as one that ends at the border."""
    for side in (1, 2):
        repeated = [radius if other == side else -1 for other in range(3)]
        first, last = labels.narrow(side, 0, 1), labels.narrow(side, labels.shape[side] - 1, 1)
        labels = torch.cat([first.expand(repeated), labels, last.expand(repeated)], side)
    return labels


def _sets(labels: Tensor, words: int) -> Tensor:
    """(words, *labels.shape) int32: the set that holds just the pixel's class, a bit of one of the words."""
    bits = torch.bitwise_left_shift(
        torch.ones((), dtype=torch.int32, device=labels.device), labels.bitwise_and(WORD - 1)
    )
    which = torch.arange(words, dtype=torch.int32, device=labels.device).view(-1, *[1] * labels.ndim)
    return (labels >> 5 == which).int().neg_().bitwise_and_(bits)


def _over_window(maps: Tensor, radius: int, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`combine` over windows of side 2 r + 1 on the last two sides, each then 2 r shorter, by doubling the span."""
    for side in (-1, -2):
        span = 1
        while span < 2 * radius + 1:
            step = min(span, 2 * radius + 1 - span)
            length = maps.shape[side] - step
            maps = combine(maps.narrow(side, 0, length), maps.narrow(side, step, length))
            span += step
    return maps


def _counts(present: Tensor, width: int) -> Tensor:
    """(words, B, g, height, w width) sets -> (8, words, B, g, w, 4) uint8: class 32 word + 8 byte + bit, in a cell."""
    words, images, rows, _, length = present.shape
    fields = present.new_empty(8, words, images, rows, length)
    for bit in range(4):
        column = (present >> bit).bitwise_and_(ONES).sum(3, dtype=torch.int32)
        torch.bitwise_and(column, LOW_HALVES, out=fields[bit])
        torch.bitwise_and(column >> 4, LOW_HALVES, out=fields[bit + 4])
    cells = fields.unflatten(4, (-1, width)).sum(-1, dtype=torch.int32)
    return cells[..., None].view(torch.uint8)
