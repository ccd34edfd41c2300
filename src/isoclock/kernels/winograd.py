"""3x3 convolution by Winograd's minimal filtering, F(2x2, 3x3): 2.25 times fewer multiplications, on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BLOCK = 1 << 17
"""Elements of one of a block's 16 matrices: rows enough for a good product, and still in the cache."""


def convolve(layer: nn.Module, feature: Tensor) -> Tensor:
    """The result of `layer`, a 3x3 convolution with padding 1, by `convolution`."""
    assert isinstance(layer, nn.Conv2d)
    return convolution(feature, layer.weight, layer.bias)


def convolution(feature: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """3x3 convolution with padding 1: (B, C, h, w), (K, C, 3, 3), (K,) -> (B, K, h, w).

    In full precision on a CPU by `_Winograd`; otherwise by torch, which supports short formats and has such kernels
    of its own on accelerators. The two differ by rounding.
    """
    device = feature.device.type
    full = feature.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled(device)
    if device != "cpu" or not full:
        return F.conv2d(feature, weight, bias, padding=1)
    result: Tensor = _Winograd.apply(feature, weight, bias)
    return result


class _Winograd(torch.autograd.Function):
    """y = A^T [ sum over channels of U * (B^T d B) ] A + bias, on 4x4 tiles d at stride 2 (Lavin and Gray, 1509.09308).

    U (16, K, C) are the transformed filters, recomputed for the backward pass rather than saved. Maps are processed in
    blocks of tile rows with channels innermost: all transformed tiles together would have four times a map's size.
    """

    @staticmethod
    def forward(ctx: Any, feature: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(feature, weight)
        filters = _transformed(weight)
        maps = feature.permute(0, 2, 3, 1)
        shape = (len(feature), filters.shape[1], *feature.shape[-2:])
        result = torch.empty(shape, dtype=feature.dtype, device=feature.device, memory_format=torch.channels_last)
        for images, rows in _blocks(maps, filters):
            tiles = _tiles(_strip(maps, images, rows, border=1))
            found = torch.bmm(_matrices(tiles), filters.mT).view(*tiles.shape[:-1], -1)
            into = result.permute(0, 2, 3, 1)[images, 2 * rows.start : 2 * rows.stop]
            part = _assembled_along(_assembled_along(found, 3), 1)[:, : into.shape[1], : into.shape[2]]
            if bias is None:
                into.copy_(part)
            else:
                torch.add(part, bias, out=into)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        feature, weight = ctx.saved_tensors
        filters = _transformed(weight)
        maps, outer_maps = feature.permute(0, 2, 3, 1), outer.permute(0, 2, 3, 1)
        gradient = torch.zeros_like(feature, memory_format=torch.channels_last) if ctx.needs_input_grad[0] else None
        filter_gradient = torch.zeros_like(filters) if ctx.needs_input_grad[1] else None
        for images, rows in _blocks(maps, filters):
            spread = _spread_along(_spread_along(_strip(outer_maps, images, rows, border=0), 1), 3)
            if filter_gradient is not None:
                tiles = _tiles(_strip(maps, images, rows, border=1))
                filter_gradient.baddbmm_(_matrices(spread).mT, _matrices(tiles))
                del tiles
            if gradient is not None:
                back = torch.bmm(_matrices(spread), filters).view(*spread.shape[:-1], -1)
                del spread
                _add_strip(gradient.permute(0, 2, 3, 1), images, rows, _overlaid_along(_overlaid_along(back, 3), 1))
                del back
        del filters
        weight_gradient = None
        if filter_gradient is not None:
            weight_gradient = torch.mm(filter_gradient.view(16, -1).T, _filter_transform(weight)).view_as(weight)
        return gradient, weight_gradient, outer.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


def _transformed(weight: Tensor) -> Tensor:
    """(K, C, 3, 3) -> (16, K, C)."""
    return (_filter_transform(weight) @ weight.reshape(-1, 9).T).view(16, *weight.shape[:2])


def _filter_transform(like: Tensor) -> Tensor:
    """(16, 9): G x G, of which row 4 j + i belongs to column j and row i of a tile."""
    one = like.new_tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]])
    return torch.einsum("iy,jx->jiyx", one, one).reshape(16, 9)


def _blocks(maps: Tensor, filters: Tensor) -> Iterator[tuple[slice, slice]]:
    """(images, tile rows) of each block of (B, h, w, C)."""
    tile_rows, tile_columns = (maps.shape[1] + 1) // 2, (maps.shape[2] + 1) // 2
    size = max(1, _BLOCK // (max(filters.shape[1:]) * tile_columns))
    together = max(1, size // tile_rows)
    for first in range(0, len(maps), together):
        for start in range(0, tile_rows, size):
            yield slice(first, first + together), slice(start, min(tile_rows, start + size))


def _strip(maps: Tensor, images: slice, rows: slice, *, border: int) -> Tensor:
    """What a block's tiles cover of (B, h, w, C), `border` pixels around them included; zero beyond the map."""
    height, width, channels = maps.shape[1:]
    top, bottom = 2 * rows.start - border, 2 * rows.stop + border
    inside = maps[images, max(0, top) : bottom]
    if border == 0 and bottom <= height and width % 2 == 0:
        return inside
    strip = maps.new_zeros(len(inside), bottom - top, width + width % 2 + 2 * border, channels)
    strip[:, max(0, -top) :][:, : inside.shape[1], border : border + width] = inside
    return strip


def _add_strip(maps: Tensor, images: slice, rows: slice, strip: Tensor) -> None:
    """Adds the part of a strip with a border of 1 that is inside (B, h, w, C)."""
    top, bottom = 2 * rows.start - 1, 2 * rows.stop + 1
    inside = maps[images, max(0, top) : bottom]
    inside.add_(strip[:, max(0, -top) :][:, : inside.shape[1], 1 : 1 + maps.shape[2]])


def _matrices(tiles: Tensor) -> Tensor:
    """(4, 4, b, r, s, C) -> (16, b r s, C)."""
    return tiles.view(16, -1, tiles.shape[-1])


def _tiles(padded: Tensor) -> Tensor:
    """B^T d B for all tiles: (b, 2 r + 2, 2 s + 2, C) -> (4, 4, b, r, s, C)."""
    return _tiles_along(_tiles_along(padded, 1), 3)


def _tiles_along(values: Tensor, dim: int) -> Tensor:
    count = values.shape[dim] // 2 - 1
    even, odd = values.unflatten(dim, (count + 1, 2)).unbind(dim + 1)
    first, third = even.narrow(dim, 0, count), even.narrow(dim, 1, count)
    second, fourth = odd.narrow(dim, 0, count), odd.narrow(dim, 1, count)
    found = values.new_empty(4, *first.shape)
    torch.sub(first, third, out=found[0])
    torch.add(second, third, out=found[1])
    torch.sub(third, second, out=found[2])
    torch.sub(second, fourth, out=found[3])
    return found


def _overlaid_along(tiles: Tensor, dim: int) -> Tensor:
    """The transpose of `_tiles_along`: the first dimension goes, dimension `dim` of the rest becomes 2 count + 2."""
    first, second, third, fourth = tiles
    shape, count = list(first.shape), first.shape[dim]
    found = tiles.new_zeros(*shape[:dim], count + 1, 2, *shape[dim + 1 :])
    even, odd = found.unbind(dim + 1)
    even.narrow(dim, 0, count).copy_(first)
    even.narrow(dim, 1, count).sub_(first).add_(second).add_(third)
    odd.narrow(dim, 0, count).copy_(second).sub_(third).add_(fourth)
    odd.narrow(dim, 1, count).sub_(fourth)
    return found.flatten(dim, dim + 1)


def _assembled_along(found: Tensor, dim: int) -> Tensor:
    """A^T m: the first dimension, of 4, goes; dimension `dim` of the rest doubles."""
    shape = list(found.shape[1:])
    result = found.new_empty(*shape[: dim + 1], 2, *shape[dim + 1 :])
    even, odd = result.unbind(dim + 1)
    torch.add(found[0], found[1], out=even).add_(found[2])
    torch.sub(found[1], found[2], out=odd).sub_(found[3])
    return result.flatten(dim, dim + 1)


def _spread_along(values: Tensor, dim: int) -> Tensor:
    """The transpose of `_assembled_along`: dimension `dim` halves, one of 4 comes first."""
    even, odd = values.unflatten(dim, (values.shape[dim] // 2, 2)).unbind(dim + 1)
    found = values.new_empty(4, *even.shape)
    found[0].copy_(even)
    torch.add(even, odd, out=found[1])
    torch.sub(even, odd, out=found[2])
    torch.neg(odd, out=found[3])
    return found
