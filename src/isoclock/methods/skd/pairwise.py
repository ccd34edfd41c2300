"""The pair-wise term of SKD: similarity of every node of a feature map with every other."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from isoclock.kernels.precision import in_loss_precision

PORT_EPSILON = 1e-12
OFFICIAL_EPSILON = 1e-8
LONG_ROW = 8
"""Rows of a window of at least this length are reduced separately."""
FEW = 1 << 13  # numbers of pooled features
BLOCK = 1 << 19  # numbers of a feature that are pooled at a time
STRIP = 1 << 19  # elements of the similarity maps that exist at a time
CHANNELS = 128  # rows of a C x C matrix that are computed at a time
NODES = 512  # nodes in float64 at a time


def pair_term(student: Tensor, teacher: Tensor, nodes: str) -> Tensor:
    """1 / (B N^2) sum over b, i, j of (S^T_ij - S^S_ij)^2 for features (B, C, h, w), as published: N x N maps."""
    maps = []
    for feature in (student, teacher):
        kernel = _kernel(feature, nodes)
        vectors = _unit_vectors(in_loss_precision(F.max_pool2d(feature, kernel, ceil_mode=True)).flatten(2), nodes)
        maps.append(torch.bmm(vectors.transpose(1, 2), vectors))
    return (maps[0] - maps[1]).square().mean()


def pair_term_tuned(student: Tensor, teacher: Tensor, nodes: str) -> Tensor:
    """The same without an N x N map; see `by_strips` and `by_channels`."""
    kernel = _kernel(student, nodes)
    ours, theirs = (in_loss_precision(pooled(feature, kernel)).flatten(2) for feature in (student, teacher))
    precision = ours.dtype
    if ours.numel() <= FEW:  # float64 costs little there, and rounding errors of few nodes average out less
        ours, theirs = ours.double(), theirs.double()
    value: Tensor = _GramDifference.apply(ours, theirs / _norms(theirs, nodes), nodes)
    return value.to(precision)


def _kernel(feature: Tensor, nodes: str) -> tuple[int, int]:
    """A window of 2x2, or of half the map, so that an even map has 2x2 nodes."""
    height, width = feature.shape[-2:]
    return (2, 2) if nodes == "port" else (max(1, height // 2), max(1, width // 2))


def _unit_vectors(vectors: Tensor, nodes: str) -> Tensor:
    if nodes == "port":
        return F.normalize(vectors, dim=1, eps=PORT_EPSILON)
    return vectors / (vectors.detach().norm(dim=1, keepdim=True) + OFFICIAL_EPSILON)


def _norms(vectors: Tensor, nodes: str) -> Tensor:
    """What `_unit_vectors` divides by, (B, 1, N); a square and a sum are several times as fast as torch's norm here."""
    norms = vectors.square().sum(1, keepdim=True).sqrt_()
    return norms.clamp_(min=PORT_EPSILON) if nodes == "port" else norms.add_(OFFICIAL_EPSILON)


class _GramDifference(torch.autograd.Function):
    """1 / (B N^2) |F^T'F^T - F^S'F^S|^2, F^S from vectors of any length and F^T of unit vectors, both (B, C, N).

    The gradient for F^S, 4 / (B N^2) F^S (S^S - S^T), is computed in the forward pass, and propagated to the vectors.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, nodes: str) -> Tensor:
        scale = 1 / (student.shape[0] * student.shape[2] ** 2)
        norms = _norms(student, nodes)
        units = student / norms
        value, gradient = (by_channels if _channels_are_cheaper(units, teacher) else by_strips)(units, teacher)
        if nodes == "port":  # the norm has a gradient, unless it was replaced by the minimum
            along = (units * gradient).sum(1, keepdim=True).mul_(norms > PORT_EPSILON)
            gradient.sub_(units.mul_(along))
        ctx.save_for_backward(gradient.mul_(4 * scale).div_(norms))
        return value * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        return ctx.saved_tensors[0] * outer, None, None


def by_strips(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """(|S^T - S^S|^2, F^S (S^S - S^T)) from strips of the difference, one at a time.

    The difference is symmetric, so that a strip starts at the diagonal. One product subtracts from the other in place.
    """
    images, _, nodes = student.shape
    strip = max(1, STRIP // (images * nodes))
    gradient = torch.zeros_like(student)
    value = student.new_zeros(())
    for first in range(0, nodes, strip):
        ours, theirs = student[:, :, first : first + strip], teacher[:, :, first : first + strip]
        difference = torch.bmm(ours.transpose(1, 2), student[:, :, first:])
        difference.baddbmm_(theirs.transpose(1, 2), teacher[:, :, first:], alpha=-1)
        value += 2 * _square_sum(difference) - _square_sum(difference[:, :, :strip])
        gradient[:, :, first : first + strip].baddbmm_(student[:, :, first:], difference.transpose(1, 2))
        gradient[:, :, first + strip :].baddbmm_(ours, difference[:, :, strip:])
    return value, gradient


def by_channels(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """The same from C x C matrices, |F^T F^T'|^2 - 2 |F^T F^S'|^2 + |F^S F^S'|^2, in float64.

    All but |S^T - S^S|^2 / |S^T|^2 cancels, which is 1e-4 for a student one per cent off. Float32 would leave few correct
    digits; float64 leaves eleven.
    """
    images, width = student.shape[:2]
    others = teacher.shape[1]
    own, cross, gram = (
        torch.zeros(images, *shape, dtype=torch.float64, device=student.device)
        for shape in ((width, width), (others, width), (others, others))
    )
    for ours, theirs in zip(student.split(NODES, 2), teacher.split(NODES, 2), strict=True):
        ours, theirs = ours.double(), theirs.double()
        own.baddbmm_(ours, ours.transpose(1, 2))
        cross.baddbmm_(theirs, ours.transpose(1, 2))
        for first in range(0, others, CHANNELS):  # symmetric as well: blocks on and right of the diagonal
            rows = slice(first, first + CHANNELS)
            gram[:, rows, first:].baddbmm_(theirs[:, rows], theirs[:, first:].transpose(1, 2))
    value = _square_sum(own) - 2 * _square_sum(cross)
    for first in range(0, others, CHANNELS):
        strip = gram[:, first : first + CHANNELS, first:]
        value += 2 * _square_sum(strip) - _square_sum(strip[:, :, :CHANNELS])
    gradient = torch.empty_like(student)
    blocks = (tensor.split(NODES, 2) for tensor in (gradient, student, teacher))
    for target, ours, theirs in zip(*blocks, strict=True):
        target.copy_(torch.bmm(own, ours.double()).baddbmm_(cross.transpose(1, 2), theirs.double(), alpha=-1))
    return value.clamp(min=0).to(student.dtype), gradient


def _channels_are_cheaper(student: Tensor, teacher: Tensor) -> bool:
    """By multiplications, one in float64 counted as two. Never on accelerators, some of which are slow in float64."""
    if student.device.type != "cpu" or student.dtype != torch.float32:
        return False
    ours, theirs, nodes = student.shape[1], teacher.shape[1], student.shape[2]
    return 2 * (0.6 * theirs**2 + 2 * ours * theirs + 2 * ours**2) < nodes * ((ours + theirs) / 2 + ours)


def _square_sum(values: Tensor) -> Tensor:
    flat = values.reshape(-1)
    return torch.dot(flat, flat)


def pooled(feature: Tensor, kernel: tuple[int, int]) -> Tensor:
    """Max-pooling with stride = kernel and ceil mode; of ties, the gradient goes to the first, as in torch's own.

    Torch pools contiguous maps number by number. Where possible, this uses maxima of whole rows instead.
    """
    height, width = feature.shape[-2:]
    if not feature.is_contiguous() or height % kernel[0] or width % kernel[1]:
        return F.max_pool2d(feature, kernel, ceil_mode=True)
    if not feature.requires_grad:
        if kernel == (2, 2):
            return _maxima_of_four(feature)
        return feature.unflatten(3, (-1, kernel[1])).amax(4).unflatten(2, (-1, kernel[0])).amax(3)
    if kernel[1] < LONG_ROW:
        return F.max_pool2d(feature, kernel, ceil_mode=True)
    value: Tensor = _LargeWindows.apply(feature, kernel)
    return value


def _maxima_of_four(feature: Tensor) -> Tensor:
    images, channels, height, width = feature.shape
    result = feature.new_empty(images, channels, height // 2, width // 2)
    size = max(1, BLOCK // (images * height * width))
    for source, target in zip(feature.split(size, 1), result.split(size, 1), strict=True):
        rows = torch.maximum(source[:, :, 0::2], source[:, :, 1::2])
        torch.maximum(rows[..., 0::2], rows[..., 1::2], out=target)
    return result


class _LargeWindows(torch.autograd.Function):
    """Max-pooling over windows of long rows: the maximum of each row first, then the place within the best row."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor, kernel: tuple[int, int]) -> Tensor:
        windows = feature.unflatten(3, (-1, kernel[1])).unflatten(2, (-1, kernel[0]))  # rows are axis 3, columns 5
        values, row = windows.amax(5).max(3)
        best_row = windows.gather(3, row[:, :, :, None, :, None].expand(*row.shape[:3], 1, row.shape[3], kernel[1]))
        column = best_row[:, :, :, 0].argmax(4)
        down, across = (torch.arange(count, device=feature.device) for count in row.shape[2:])
        place = (down[:, None] * kernel[0] + row) * feature.shape[3] + across * kernel[1] + column
        ctx.save_for_backward(place.flatten(2))
        ctx.shape = feature.shape
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        (place,) = ctx.saved_tensors
        gradient = outer.new_zeros(ctx.shape)
        gradient.flatten(2).scatter_(2, place, outer.flatten(2))
        return gradient, None
