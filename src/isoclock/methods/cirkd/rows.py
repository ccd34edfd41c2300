"""Feature maps as rows of unit vectors, block by block, for the streamed terms of CIRKD."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-12  # of F.normalize


def spans(pixels: int, rows: int, images: int) -> list[tuple[int, int]]:
    """Ranges of pixels such that the range of all images together has about `rows` rows."""
    step = max(1, rows // images)
    return [(start, min(start + step, pixels)) for start in range(0, pixels, step)]


def unit_rows(feature: Tensor, span: tuple[int, int], rows: Tensor, scale: float = 1.0) -> Tensor:
    """Fill `rows` (B r, C) with the vectors of a span of r pixels, image by image, at length `scale`.

    feature: (B, C, N), of any strides. Returns their lengths before, (B r, 1), at least EPSILON.
    """
    part = feature[:, :, span[0] : span[1]]
    if part.stride(2) == 1:  # through a contiguous matrix, which is transposed four times as fast
        close = rows.new_empty(rows.shape[1], rows.shape[0])
        close.view(-1, len(part), part.shape[2]).copy_(part.transpose(0, 1))
        rows.copy_(close.t())
    else:
        rows.view(len(part), -1, rows.shape[1]).copy_(part.transpose(1, 2))
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min_(EPSILON)
    rows.mul_(scale / length)
    return length


def write_rows(rows: Tensor, feature: Tensor, span: tuple[int, int]) -> None:
    """The inverse: copies `rows` (B r, C) into a span of `feature` (B, C, h, w), a tensor of `empty_map`."""
    part = feature.flatten(2)[:, :, span[0] : span[1]]
    if part.stride(2) == 1:
        part.copy_(rows.t().contiguous().view(-1, len(part), part.shape[2]).transpose(0, 1))
    else:
        part.copy_(rows.view(len(part), -1, rows.shape[1]).transpose(1, 2))


def through_unit_(gradient: Tensor, unit: Tensor, length: Tensor) -> Tensor:
    """In place, from the gradient of unit vectors to that of the vectors: (g - u (u . g)) / length, all (rows, C)."""
    along = torch.linalg.vecdot(gradient, unit, dim=1)[:, None]
    return gradient.addcmul_(unit, along, value=-1).div_(length)


def empty_map(feature: Tensor) -> Tensor:
    """An uninitialised tensor like `feature` (B, C, h, w), in one of the two layouts that flatten without a copy."""
    channels_last = feature.is_contiguous(memory_format=torch.channels_last) and not feature.is_contiguous()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty_like(feature, memory_format=layout)
