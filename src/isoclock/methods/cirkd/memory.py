"""The memory terms of CIRKD: every labelled pixel against keys from a ring, as published and streamed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from isoclock.kernels.precision import in_loss_precision
from isoclock.methods.cirkd.divergence import SUMS, divergence, summands_
from isoclock.methods.cirkd.rows import empty_map, spans, through_unit_, unit_rows, write_rows

BLOCK = {"cpu": 1 << 21, "cuda": 1 << 24}
"""Similarities of a block of pixels with all keys: on a CPU their exponentials stay in its last-level cache."""

COLUMNS = {"cpu": 512, "cuda": 1 << 13}
"""Keys of a tile."""


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
    with torch.autocast(ours.device.type, enabled=False):
        for keys in key_sets:
            teacher_map = torch.div(torch.mm(theirs, keys.t()), tau)
            student_map = torch.div(torch.mm(ours, keys.t()), tau)
            log_student = F.log_softmax(student_map / temperature, dim=1)
            of_teacher = F.softmax(teacher_map / temperature, dim=1)
            total = F.kl_div(log_student, of_teacher, reduction="sum")
            terms.append(total / max(1, len(ours)) * temperature**2)
    return terms


def streamed_divergence_from_keys(
    student: Tensor, teacher: Tensor, key_sets: Sequence[Tensor], valid: Tensor, tau: float, temperature: float
) -> list[Tensor]:
    """The same, tile by tile; see `_Streamed`."""
    wants_gradient = torch.is_grad_enabled() and student.requires_grad
    return list(_Streamed.apply(student, teacher, valid, tau, temperature, wants_gradient, *key_sets))


class _Streamed(torch.autograd.Function):
    """Values and gradients of all terms in one pass over blocks of pixels; only the similarities of one block exist at a time.

    A block's similarities S and T, |S| <= 1 / (tau temperature), are computed tile by tile of keys, the student's and
    the teacher's in one product; their exponentials need no shift and stay until the row sums Z are known, as all that
    `divergence` needs. Then exp(S) / Z^S - exp(T) / Z^T times the keys is the gradient.
    All pixels are computed: to select the valid ones, the host would have to wait for their number.
    """

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        valid: Tensor,
        tau: float,
        temperature: float,
        wants_gradient: bool,
        *key_sets: Tensor,
    ) -> tuple[Tensor, ...]:
        with torch.autocast(student.device.type, enabled=False):
            values, gradients = _one_pass(student, teacher, key_sets, valid, tau * temperature, wants_gradient)
            for gradient in gradients:
                gradient *= temperature**2
        ctx.save_for_backward(*gradients)
        return tuple(value * temperature**2 for value in values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.saved_tensors
        total = gradients[0] * outer[0].to(gradients[0].dtype)
        for gradient, factor in zip(gradients[1:], outer[1:], strict=True):
            total.addcmul_(gradient, factor.to(gradient.dtype))
        return total, *[None] * (5 + len(outer))


def _one_pass(
    student: Tensor, teacher: Tensor, key_sets: Sequence[Tensor], valid: Tensor, tau: float, wants_gradient: bool
) -> tuple[list[Tensor], list[Tensor]]:
    images, channels = student.shape[:2]
    device = student.device.type
    new: dict[str, Any] = {"dtype": key_sets[0].dtype, "device": student.device}
    most = max(len(keys) for keys in key_sets)
    blocks = spans(valid.shape[1], max(1, BLOCK.get(device, BLOCK["cuda"]) // max(most, channels)), images)
    count = images * (blocks[0][1] - blocks[0][0])
    columns = COLUMNS.get(device, COLUMNS["cuda"])
    units = torch.empty(2 * count * channels, **new)
    exponentials = torch.empty(2 * count * most, **new)
    scratch = torch.empty((SUMS - 2) * count * min(columns, most), **new)
    weight = valid.to(new["dtype"]) / valid.sum().clamp_min(1)  # (B, N)
    values = [torch.zeros((), **new) for _ in key_sets]
    gradients = [empty_map(student) for _ in key_sets] if wants_gradient else []
    for start, stop in blocks:
        count = images * (stop - start)
        both = units[: 2 * count * channels].view(2, count, channels)
        length = unit_rows(student.flatten(2), (start, stop), both[0])
        unit_rows(teacher.flatten(2), (start, stop), both[1])
        row_weight = weight[:, start:stop].flatten()
        for k, keys in enumerate(key_sets):
            sums = torch.zeros(SUMS, count, **new)
            tiles = []
            for first in range(0, len(keys), columns):
                of_tile = keys[first : first + columns]
                width = len(of_tile)
                tile = exponentials[2 * count * first : 2 * count * (first + width)].view(2, count, width)
                rest = scratch[: (SUMS - 2) * count * width].view(-1, count, width)
                torch.mm(both.flatten(0, 1), of_tile.t(), out=tile.flatten(0, 1)).div_(tau)
                summands_(tile, rest)
                sums[:2] += tile.sum(2)
                sums[2:] += rest.sum(2)
                tiles.append((of_tile, tile))
            values[k] += torch.dot(divergence(sums), row_weight)
            if wants_gradient:
                factor = (row_weight / tau / sums[:2])[..., None]
                gradient = torch.zeros(count, channels, **new)
                for of_tile, tile in tiles:
                    tile[0].mul_(factor[0]).addcmul_(tile[1], factor[1], value=-1)
                    gradient.addmm_(tile[0], of_tile)
                write_rows(through_unit_(gradient, both[0], length), gradients[k], (start, stop))
    return values, gradients
