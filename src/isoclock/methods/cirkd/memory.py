"""The memory terms of CIRKD: every labelled pixel against keys from a ring, as published and by blocks of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from isoclock.kernels.precision import in_loss_precision, product_dtype
from isoclock.methods.cirkd.divergence import SUMS, divergence, product_, summands_, unit_rows

BLOCK = {"cpu": 1 << 20, "cuda": 70_000_000}
"""Similarities of a block of pixels with all keys. Its SUMS maps are 16 MiB on a CPU, about its last-level cache, and
elsewhere 1.1 GB: one block for the region keys of 8 maps of 64x128, four for the pixel keys."""


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that uses its running statistics if the batch is a single pixel, which has no variance."""

    def forward(self, values: Tensor) -> Tensor:
        """As `nn.BatchNorm2d`, which does not accept a single value per channel."""
        if self.training and values.numel() == values.shape[1]:
            return F.batch_norm(values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(values)


def divergence_from_keys(
    student: Tensor, teacher: Tensor, key_sets: Sequence[Tensor], valid: Tensor, tau: float, temperature: float
) -> list[Tensor]:
    """The memory term of `CIRKD` for each of `key_sets` (M, C), as published: whole similarity maps of valid pixels.

    student, teacher: (B, C, h, w), not normalised. valid: (B, N) bool.
    """
    ours, theirs = (
        F.normalize(in_loss_precision(feature), dim=1).permute(0, 2, 3, 1).contiguous().flatten(0, 2)[valid.flatten()]
        for feature in (student, teacher)
    )
    terms = []
    for keys in key_sets:
        teacher_map = torch.div(in_loss_precision(torch.mm(theirs, keys.t())), tau)
        student_map = torch.div(in_loss_precision(torch.mm(ours, keys.t())), tau)
        log_student = F.log_softmax(student_map / temperature, dim=1)
        of_teacher = F.softmax(teacher_map / temperature, dim=1)
        total = F.kl_div(log_student, of_teacher, reduction="sum")
        terms.append(total / max(1, len(ours)) * temperature**2)
    return terms


def streamed_divergence_from_keys(
    student: Tensor, teacher: Tensor, key_sets: Sequence[Tensor], valid: Tensor, tau: float, temperature: float
) -> list[Tensor]:
    """The same without the maps; see `_Streamed`.

    All pixels are computed: to select the valid ones, the host would have to wait for their number.
    """
    ours, theirs, dtype = unit_rows(student), unit_rows(teacher), product_dtype(student)
    weight = (valid.to(ours.dtype) / valid.sum().clamp_min(1)).flatten()
    return [_Streamed.apply(ours, theirs, keys, weight, tau * temperature, dtype) * temperature**2 for keys in key_sets]


class _Streamed(torch.autograd.Function):
    """Sum of weight KL over rows of unit vectors (R, C), value and gradient in one pass; one block's similarities exist.

    Exponentials of the similarities S and T need no shift, |S| <= 1 / tau, so that their sums Z over a row and the
    gradient, exp(S) / Z^S - exp(T) / Z^T times the keys, come from the same ones.
    """

    @staticmethod
    def forward(
        ctx: Any, ours: Tensor, theirs: Tensor, keys: Tensor, weight: Tensor, tau: float, dtype: torch.dtype
    ) -> Tensor:
        with torch.autocast(ours.device.type, enabled=False):
            x, y, keys = ((ours / tau).to(dtype), (theirs / tau).to(dtype), keys.to(dtype))
            count = min(len(ours), max(1, BLOCK.get(ours.device.type, BLOCK["cuda"]) // len(keys)))
            memory = torch.empty(SUMS, count, len(keys), dtype=ours.dtype, device=ours.device)
            gradient = torch.empty_like(ours) if ctx.needs_input_grad[0] else None
            value = ours.new_zeros(())
            for start in range(0, len(ours), count):
                rows = slice(start, start + count)
                maps = memory[:, : len(x[rows])]
                product_(x[rows], keys, maps[0])
                product_(y[rows], keys, maps[1])
                summands_(maps[:2], maps[2:])
                sums = maps.sum(2)
                value += torch.dot(divergence(sums), weight[rows])
                if gradient is not None:
                    inverse = sums[:2].reciprocal()[..., None]
                    both = maps[0].mul_(inverse[0]).addcmul_(maps[1], inverse[1], value=-1)
                    gradient[rows] = torch.mm(both.to(dtype), keys)
            if gradient is not None:
                ctx.save_for_backward(gradient.mul_(weight[:, None] / tau))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None, None, None, None
