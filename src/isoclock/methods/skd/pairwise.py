"""The pair-wise term of SKD: similarity of every node of a feature map with every other."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from isoclock.kernels.precision import in_loss_precision, loss_dtype, product_dtype

PORT_EPSILON = 1e-12
OFFICIAL_EPSILON = 1e-8
STRIP = {"cpu": 1 << 19, "cuda": 1 << 26}
"""Elements of the difference of similarity maps that exist at a time: 2 MiB on a CPU, elsewhere 256 MiB."""


def pair_term(student: Tensor, teacher: Tensor, nodes: str) -> Tensor:
    """1 / (B N^2) sum over b, i, j of (S^T_ij - S^S_ij)^2 for features (B, C, h, w), as published: N x N maps."""
    maps = []
    for feature in (student, teacher):
        vectors = _unit_vectors(feature, nodes)
        maps.append(in_loss_precision(torch.bmm(vectors.transpose(1, 2), vectors)))
    return (maps[0] - maps[1]).square().mean()


def pair_term_by_strips(student: Tensor, teacher: Tensor, nodes: str) -> Tensor:
    """The same from strips of the difference of both maps, computed together with the gradient; see `_GramDifference`."""
    ours, theirs = _unit_vectors(student, nodes), _unit_vectors(teacher, nodes)
    value: Tensor = _GramDifference.apply(ours, theirs, product_dtype(student))
    return value / (ours.shape[0] * ours.shape[2] ** 2)


def _unit_vectors(feature: Tensor, nodes: str) -> Tensor:
    """Vectors (B, C, N) of windows of 2x2, or of half the map, so that an even map has 2x2 nodes."""
    height, width = feature.shape[-2:]
    kernel = (2, 2) if nodes == "port" else (max(1, height // 2), max(1, width // 2))
    vectors = in_loss_precision(F.max_pool2d(feature, kernel, ceil_mode=True)).flatten(2)
    if nodes == "port":
        return F.normalize(vectors, dim=1, eps=PORT_EPSILON)
    return vectors / (vectors.detach().norm(dim=1, keepdim=True) + OFFICIAL_EPSILON)


class _GramDifference(torch.autograd.Function):
    """Sum of the squares of S^S - S^T, and its gradient 4 F^S (S^S - S^T), from unit vectors F (B, C, N).

    The difference is symmetric, so that a strip starts at the diagonal. One product subtracts from the other in place.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, dtype: torch.dtype) -> Tensor:
        images, _, nodes = student.shape
        accurate = loss_dtype(student)
        with torch.autocast(student.device.type, enabled=False):
            ours, theirs = student.to(dtype), teacher.to(dtype)
            strip = max(1, STRIP.get(student.device.type, STRIP["cuda"]) // (images * nodes))
            gradient = torch.zeros_like(student)
            value = student.new_zeros(())
            for first in range(0, nodes, strip):
                here, there = slice(first, first + strip), slice(first + strip, None)
                difference = torch.bmm(ours[:, :, here].mT, ours[:, :, first:])
                if dtype == accurate:
                    difference.baddbmm_(theirs[:, :, here].mT, theirs[:, :, first:], alpha=-1)
                else:  # the type of the products has too few digits for their difference
                    difference = difference.to(accurate) - torch.bmm(theirs[:, :, here].mT, theirs[:, :, first:])
                value += 2 * _square_sum(difference) - _square_sum(difference[:, :, :strip])
                difference = difference.to(dtype)
                gradient[:, :, here] += torch.bmm(ours[:, :, first:], difference.mT)
                if first + strip < nodes:
                    gradient[:, :, there] += torch.bmm(ours[:, :, here], difference[:, :, strip:])
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * (4 * outer), None, None


def _square_sum(values: Tensor) -> Tensor:
    flat = values.reshape(-1)
    return torch.dot(flat, flat)
