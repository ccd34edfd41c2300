"""CIRKD's Triton kernels in Triton's interpreter. `test_cirkd_triton.py` runs this file in a process of its own.

TRITON_INTERPRET=1 must be set before triton is imported. Tiles are small, so that a few pixels need many.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import triton.language as tl
from torch import Tensor
from triton.runtime import interpreter

from isoclock.methods.cirkd import triton_pairs
from isoclock.methods.cirkd.minibatch import fast_pairwise_divergence, pairwise_divergence
from isoclock.methods.cirkd.triton_pairs import Blocks

FLOAT32 = 2.0**-24
UNITS = {torch.float32: FLOAT32, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
"""Relative rounding errors."""


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Blocks, "of", classmethod(lambda cls, _: cls(16, 16, 16, 16, 16)))
    plain = interpreter.InterpreterBuilder.create_dot

    def create_dot(builder: Any, a: Any, b: Any, *others: Any) -> Any:
        """The interpreter would multiply the bits of bfloat16 as integers."""
        if a.dtype.scalar == tl.bfloat16:
            a, b = (
                interpreter.TensorHandle(
                    interpreter._convert_float(one.data, tl.bfloat16, tl.float32, None).view(np.float32), tl.float32
                )
                for one in (a, b)
            )
        return plain(builder, a, b, *others)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", create_dot)


def maps(images: int, channels: int, size: tuple[int, int], seed: int) -> Tensor:
    return torch.randn(images, channels, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def found(student: Tensor, teacher: Tensor, tau: float, dtype: torch.dtype) -> tuple[float, Tensor]:
    leaf = student.float().requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        value = fast_pairwise_divergence(leaf, teacher.float(), tau, "triton")
    assert value.dtype == torch.float32
    return value.item(), torch.autograd.grad(3 * value, leaf)[0].double() / 3


def check(student: Tensor, teacher: Tensor, tau: float, dtype: torch.dtype) -> float:
    """Value and gradient differ from those of `reference` in float64 by what rounding explains, to first order.

    Returns the limit for the gradient over its norm: below 1, a gradient of zeros would not pass.

    A similarity of unit vectors over tau errs by d, of which rounding both operands to `dtype` is two units, and float32
    (normalisation, product, scale) at most eight of its units. With p and q the softmaxes of T and S and u = S - T, the
    value then errs by d times the mean of sum |q - p| + sum p |u - E u|. Exponentials and their sums Z err by d each,
    the shares by 2 d, by a unit where they are rounded to `dtype`, and by a unit of the vectors that they are
    multiplied with. A sum of n numbers of one sign errs by at most n units of float32.
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
    d, adding = (2 * UNITS[dtype] + 8 * FLOAT32) / tau, images * pixels * FLOAT32
    value, slope = found(student, teacher, tau, dtype)
    assert abs(value - exact.item()) <= 2 * (d * moved + d**2 + adding * exact.item())
    shares = (q + p).flatten(1)
    by_row = (shares + shares.t()).sum(1) / (tau * images**2 * pixels)
    by_row = by_row.view(images, 1, *student.shape[2:]) / student.norm(dim=1, keepdim=True)
    limit = (2 * d + 2 * UNITS[dtype] + adding) * by_row.norm()
    assert (slope - gradient).norm() <= limit
    return float(limit / gradient.norm())


@pytest.mark.parametrize(
    ("images", "size", "channels"), [(1, (1, 1), (3, 5)), (2, (3, 6), (20, 33)), (3, (1, 5), (16, 4))]
)
def test_float32_of_any_shape(images: int, size: tuple[int, int], channels: tuple[int, int]) -> None:
    limit = check(maps(images, channels[0], size, 0), maps(images, channels[1], size, 1), 0.1, torch.float32)
    assert limit < 1e-3 or size == (1, 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_products(dtype: torch.dtype) -> None:
    """The student's pixels are alike along columns, the teacher's along rows, so that the gradient is large."""
    centres = maps(1, 20, (1, 6), 5)[0, :, 0]
    row, column = torch.arange(3)[:, None].expand(3, 6), torch.arange(6).expand(3, 6)
    student, teacher = (
        centres[:, kind] + 0.4 * maps(2, 20, (3, 6), seed) for seed, kind in enumerate((column % 2, row))
    )
    assert check(student, teacher, 0.3, dtype) < 0.3


def test_float32_near_the_teacher() -> None:
    teacher = maps(2, 20, (3, 6), 1)
    limit = check(teacher + 1e-3 * maps(2, 20, (3, 6), 0), teacher, 0.1, torch.float32)
    assert limit < 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_student_like_its_teacher_has_no_loss_and_no_gradient(dtype: torch.dtype) -> None:
    teacher = maps(2, 5, (1, 17), 1)
    value, gradient = found(teacher, teacher, 0.1, dtype)
    assert value == 0
    assert not gradient.any()


def test_opposite_features_at_the_least_temperature_overflow_nowhere() -> None:
    teacher = maps(1, 6, (1, 1), 0) * torch.tensor([1.0, 1.0, -1.0, 1.0]) + 0.01 * maps(1, 6, (1, 4), 1)
    check(-teacher + 0.02 * maps(1, 6, (1, 4), 2), teacher, 0.03, torch.float32)


def test_padding_is_not_read() -> None:
    """Rows that are not contiguous, and whose channels fill no block."""
    rows = maps(2, 5, (1, 17), 0).float().permute(0, 2, 3, 1).flatten(0, 2)
    wide = torch.full((34, 9), torch.nan)
    wide[:, :5] = rows
    assert torch.equal(triton_pairs.sums(wide[:, :5], rows, 2), triton_pairs.sums(rows, rows, 2))
    gradient = triton_pairs.gradient(wide[:, :5], rows, torch.ones(2, 2, 34))
    assert gradient.shape == (34, 5)
    assert not gradient.any()
