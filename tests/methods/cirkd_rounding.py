"""How far CIRKD's mini-batch term may be from `reference` in float64, from the rounding of its products."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.methods.cirkd.minibatch import fast_pairwise_divergence, pairwise_divergence

FLOAT32 = 2.0**-24
UNITS = {torch.float32: FLOAT32, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
"""Relative rounding errors."""


def maps(images: int, channels: int, size: tuple[int, int], seed: int) -> Tensor:
    return torch.randn(images, channels, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def found(student: Tensor, teacher: Tensor, tau: float, dtype: torch.dtype, way: str) -> tuple[float, Tensor]:
    leaf = student.float().requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        value = fast_pairwise_divergence(leaf, teacher.float(), tau, way)
    assert value.dtype == torch.float32
    return value.item(), torch.autograd.grad(3 * value, leaf)[0].double() / 3


def check(student: Tensor, teacher: Tensor, tau: float, dtype: torch.dtype, way: str) -> float:
    """Value and gradient differ from those of `reference` in float64 by what rounding explains, to first order.

    Returns the limit for the gradient over its norm: below 1, a gradient of zeros would not pass.

    A similarity of unit vectors over tau errs by d, of which rounding both operands to `dtype` is two units, that of the
    product a third one ("streamed" only), and float32 (normalisation, product, scale) at most eight of its units. With p
    and q the softmaxes of T and S and u = S - T, the value then errs by d times the mean of sum |q - p| + sum p |u - E u|.
    Exponentials and their sums Z err by d each, the shares by 2 d, by a unit where they are rounded to `dtype`, by a unit
    of the vectors that they are multiplied with, and by one of that product ("streamed" only). A sum of n numbers of one
    sign errs by at most n units of float32.
    """
    student, teacher = student.float().double(), teacher.float().double()
    leaf = student.clone().requires_grad_()
    exact = pairwise_divergence(leaf, teacher, tau)
    (gradient,) = torch.autograd.grad(exact, leaf)
    images, pixels = len(student), student.shape[2] * student.shape[3]
    s, t = (
        (rows @ rows.t() / tau).unflatten(1, (images, pixels))
        for rows in (F.normalize(f, dim=1).permute(0, 2, 3, 1).flatten(0, 2) for f in (student, teacher))
    )
    q, p, u = s.softmax(2), t.softmax(2), s - t
    moved = ((q - p).abs().sum(2) + (p * (u - (p * u).sum(2, keepdim=True)).abs()).sum(2)).mean().item()
    rounded = (2 if way == "triton" else 3) * UNITS[dtype]
    d, adding = (rounded + 8 * FLOAT32) / tau, images * pixels * FLOAT32
    value, slope = found(student, teacher, tau, dtype, way)
    assert abs(value - exact.item()) <= 2 * (d * moved + d**2 + adding * exact.item())
    shares = (q + p).flatten(1)
    by_row = (shares + shares.t()).sum(1) / (tau * images**2 * pixels)
    by_row = by_row.view(images, 1, *student.shape[2:]) / student.norm(dim=1, keepdim=True)
    limit = (2 * d + rounded + adding) * by_row.norm()
    assert (slope - gradient).norm() <= limit
    return float(limit / gradient.norm())


def alike_along_lines() -> tuple[Tensor, Tensor]:
    """A student whose pixels are alike along columns, and a teacher along rows, so that the gradient is large."""
    centres = maps(1, 20, (1, 6), 5)[0, :, 0]
    row, column = torch.arange(3)[:, None].expand(3, 6), torch.arange(6).expand(3, 6)
    student, teacher = (
        centres[:, kind] + 0.4 * maps(2, 20, (3, 6), seed) for seed, kind in enumerate((column % 2, row))
    )
    return student, teacher
