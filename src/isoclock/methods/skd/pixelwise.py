"""The pixel-wise term of SKD: cross-entropy of the student's classes against the teacher's."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from isoclock.kernels.precision import in_loss_precision
from isoclock.kernels.softmax_blocks import exponential_

BLOCK = 1 << 18  # scores of each network that are processed at a time


def pixel_term(student: Tensor, teacher: Tensor) -> Tensor:
    """- 1 / (h w) sum over b, pixels, c of p^T log p^S for logits (B, K, h, w), as published: one row for each pixel."""
    rows = [in_loss_precision(logits).permute(0, 2, 3, 1).contiguous().flatten(0, 2) for logits in (student, teacher)]
    entropy = -(F.softmax(rows[1], dim=1) * F.log_softmax(rows[0], dim=1)).sum()
    return entropy / (student.shape[2] * student.shape[3])


def pixel_term_tuned(student: Tensor, teacher: Tensor) -> Tensor:
    """The same in one pass over blocks of pixels that computes the gradient p^S - p^T as well."""
    value: Tensor = _SoftCrossEntropy.apply(student, teacher)
    return value


class _SoftCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        accurate = torch.float64 if student.dtype == torch.float64 else torch.float32
        pixels = student.shape[2] * student.shape[3]
        gradient = torch.empty_like(student, dtype=accurate)
        maps = [student, teacher, gradient]
        if student.is_contiguous():
            maps = [logits.reshape(*logits.shape[:2], pixels) for logits in maps]
            size, along = BLOCK // (student.shape[0] * student.shape[1]), 2
        else:
            maps = [logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1]) for logits in maps]
            size, along = BLOCK // student.shape[1], 0
        entropy = torch.zeros((), dtype=accurate, device=student.device)
        for ours, theirs, slope in zip(*(logits.split(max(1, size), along) for logits in maps), strict=True):
            log_ours, log_theirs = (F.log_softmax(part, dim=1, dtype=accurate) for part in (ours, theirs))
            share = exponential_(log_theirs)
            entropy -= torch.dot(share.reshape(-1), log_ours.reshape(-1))
            torch.sub(exponential_(log_ours), share, out=slope)
        ctx.save_for_backward(gradient)
        ctx.pixels, ctx.dtype = pixels, student.dtype
        return entropy / pixels

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * (outer / ctx.pixels)).to(ctx.dtype), None
