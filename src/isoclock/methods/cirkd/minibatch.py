"""The mini-batch term of CIRKD: every pixel against every pixel of every image, as published and streamed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from isoclock.kernels.precision import in_loss_precision
from isoclock.methods.cirkd.divergence import SUMS, divergence, summands_
from isoclock.methods.cirkd.rows import empty_map, spans, through_unit_, unit_rows, write_rows

SIDE = {"cpu": 1024, "cuda": 2048}
"""Rows and columns of a tile: on a CPU four fit into the last-level cache, and threads synchronise rarely."""

KEPT = 1 << 24
"""Numbers of the teacher's tiles that are kept for the second pass (64 MiB); the rest is computed again."""


def pairwise_divergence(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    """The mini-batch term of `CIRKD`, as published: a loop over pairs of images, each with its N x N maps."""
    ours, theirs = (F.normalize(in_loss_precision(feature), dim=1).flatten(2) for feature in (student, teacher))
    total = ours.new_zeros(())
    with torch.autocast(ours.device.type, enabled=False):
        for i in range(len(ours)):
            for j in range(len(ours)):
                student_map = torch.mm(ours[i].t(), ours[j])
                teacher_map = torch.mm(theirs[i].t(), theirs[j])
                log_student = F.log_softmax(student_map / tau, dim=1)
                of_teacher = F.softmax(teacher_map / tau, dim=1)
                total = total + F.kl_div(log_student, of_teacher, reduction="batchmean")
    return total / len(ours) ** 2


def streamed_pairwise_divergence(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    """The same, tile by tile; see `_Streamed`."""
    return _Streamed.apply(student, teacher, tau, torch.is_grad_enabled() and student.requires_grad)


class _Streamed(torch.autograd.Function):
    """Value and gradient in two passes over the tiles on and above the diagonal; only one tile exists at a time.

    All B N pixels are rows of one matrix X, with S = X X^t / tau and T alike of the teacher. Both are symmetric, and
    so are their exponentials, which need no shift: |S| <= 1 / tau. Pass one sums what `divergence` needs over the rows of
    each tile and over its columns, image by image. With Z the sums of exponentials of a row over image j, pass two has
    G + G^t of a tile at once, G_rc = exp(S_rc) / Z^S_rj - exp(T_rc) / Z^T_rj, and adds (G + G^t) X to the gradient of
    the tile's rows, its transpose to that of its columns.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, tau: float, wants_gradient: bool) -> Tensor:
        with torch.autocast(student.device.type, enabled=False):
            value, gradient = _two_passes(student, teacher, tau, wants_gradient)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer.to(gradient.dtype), None, None, None


def _two_passes(student: Tensor, teacher: Tensor, tau: float, wants_gradient: bool) -> tuple[Tensor, Tensor | None]:
    images, pixels = len(student), student.shape[2] * student.shape[3]
    precision = torch.float64 if student.dtype == torch.float64 else torch.float32
    new: dict[str, Any] = {"dtype": precision, "device": student.device}
    side = SIDE.get(student.device.type, SIDE["cuda"])
    blocks = spans(pixels, side, images)
    ours = torch.empty(images * pixels, student.shape[1], **new)
    theirs = torch.empty(images * pixels, teacher.shape[1], **new)
    lengths = torch.empty(images * pixels, 1, **new)
    rows = [slice(images * start, images * stop) for start, stop in blocks]
    for block, of_block in zip(blocks, rows, strict=True):
        unit_rows(teacher.flatten(2), block, theirs[of_block], tau**-0.5)
        lengths[of_block] = unit_rows(student.flatten(2), block, ours[of_block], tau**-0.5)

    largest = (images * (blocks[0][1] - blocks[0][0])) ** 2
    scratch = torch.empty(SUMS * largest, **new)
    sums = torch.zeros(SUMS, images * pixels, images, **new)  # over each image
    kept: dict[tuple[int, int], Tensor] = {}
    room = KEPT if wants_gradient else 0
    tiles = [(p, q) for p in range(len(rows)) for q in range(p, len(rows))]
    for p, q in tiles:
        a, b = rows[p], rows[q]
        height, width = a.stop - a.start, b.stop - b.start
        tile = scratch[: SUMS * height * width].view(SUMS, height, width)
        torch.mm(ours[a], ours[b].t(), out=tile[0])
        torch.mm(theirs[a], theirs[b].t(), out=tile[1])
        summands_(tile[:2], tile[2:])
        if room >= height * width:
            room -= height * width
            kept[p, q] = tile[1].clone()
        sums[:, a] += tile.view(SUMS, height, images, -1).sum(3)
        if p != q:
            sums[:, b] += tile.view(SUMS, images, -1, width).sum(2).transpose(1, 2)
    value = divergence(sums).mean()
    if not wants_gradient:
        return value, None

    inverse = sums[:2].mul_(images * images * pixels).reciprocal_()
    inverse_t = inverse.transpose(1, 2).contiguous()
    gradient = torch.zeros_like(ours)
    for p, q in tiles:
        a, b = rows[p], rows[q]
        height, width = a.stop - a.start, b.stop - b.start
        of_student, of_teacher, factor = scratch[: 3 * height * width].view(3, height, width)
        torch.mm(ours[a], ours[b].t(), out=of_student).exp_()
        if (p, q) in kept:
            of_teacher = kept.pop((p, q))
        else:
            torch.mm(theirs[a], theirs[b].t(), out=of_teacher).exp_()
        grouped = factor.view(images, -1, images, width // images)
        of_rows = inverse[:, a].view(2, images, -1, images, 1)
        of_columns = inverse_t[:, :, b].unflatten(2, (images, -1))[:, :, None]
        torch.add(of_rows[0], of_columns[0], out=grouped)
        of_student.mul_(factor)
        torch.add(of_rows[1], of_columns[1], out=grouped)
        of_student.addcmul_(of_teacher, factor, value=-1)
        gradient[a].addmm_(of_student, ours[b])
        if p != q:
            gradient[b].addmm_(of_student.t(), ours[a])

    result = empty_map(student)
    for block, of_block in zip(blocks, rows, strict=True):
        # Rows are of length tau^-1/2: once for the unit vector's own, once for the gradient's inner product.
        part = through_unit_(gradient[of_block], ours[of_block].mul_(tau**0.5), lengths[of_block])
        write_rows(part.mul_(tau**-0.5), result, block)
    return value, result
