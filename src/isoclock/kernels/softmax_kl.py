"""KL divergence of two softmaxes, summed: value and gradient in one sweep over cache-sized blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from isoclock.kernels.divergence_sum import DivergenceSum
from isoclock.kernels.precision import loss_dtype
from isoclock.kernels.softmax_blocks import BlockLayout, Workspace, kernel_shares


def softmax_kl_sum(
    student: Tensor, teacher: Tensor, *, dim: int, temperature: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Sum over all positions of weight * KL(softmax(teacher / T) || softmax(student / T)), softmax along `dim`.

    `weight` is a constant and broadcasts over the shape without `dim`. The value is in loss precision (float32, or
    float64 if the student is); the gradient goes to the student only. Any dense layout is read without a copy.
    """
    value: Tensor = _SoftmaxKL.apply(student, teacher.detach(), weight, dim % student.dim(), float(temperature))
    return value


class _SoftmaxKL(torch.autograd.Function):
    """The gradient is computed together with the value and returned by the first backward; a second one computes it again."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, weight: Tensor | None, dim: int, temperature: float
    ) -> Tensor:
        ctx.save_for_backward(student)
        ctx.given = (teacher, weight, dim, temperature)
        value, ctx.gradient = _sweep(student, *ctx.given, wants_gradient=ctx.needs_input_grad[0])
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient = ctx.gradient
        if gradient is None:
            (student,) = ctx.saved_tensors
            gradient = _sweep(student, *ctx.given, wants_gradient=True)[1]
        ctx.gradient = None
        return gradient.mul_(upstream / ctx.given[3]), None, None, None, None


def _sweep(
    student: Tensor, teacher: Tensor, weight: Tensor | None, dim: int, temperature: float, *, wants_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """(value, T times the gradient in the student's dtype and layout)."""
    gradient = torch.empty_like(student) if wants_gradient else None
    layout = BlockLayout(student if gradient is None else gradient, dim)
    ours, theirs = layout.view(student), layout.view(teacher)
    weights = None if weight is None else layout.view_rows(weight)
    places = None if gradient is None else layout.view(gradient)
    total = DivergenceSum(student)
    direct = places is not None and layout.whole and student.dtype == loss_dtype(student)
    workspace = Workspace(layout, student, 2 if direct else 3)
    with torch.autocast(student.device.type, enabled=False):
        for block in layout.blocks():
            ratio, expected, *spare = workspace.take(ours[block].shape)
            place = None if places is None else places[block]
            found = place if direct and place is not None else spare[0]  # becomes the gradient
            kernel_shares(ours[block], theirs[block], temperature, (found, expected), ratio)
            if weights is not None:
                for share in (found, expected):
                    share.mul_(weights[(block[0], slice(None), *block[2:])])
            total.add_((found, expected), ratio, 1.0, difference=None if found is place else place)
    return total.value(shared_norm=True), gradient
