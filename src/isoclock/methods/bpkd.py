"""Boundary privileged distillation (Liu et al., WACV 2024, arXiv 2306.08075), after a third party's code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from isoclock.kernels.edges import edge_masks, fast_edge_masks
from isoclock.kernels.precision import in_loss_precision
from isoclock.methods.card import TUNED
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput

LOG2_E = math.log2(math.e)
BLOCK_ELEMENTS = 1 << 16  # of the logits, processed together: the half dozen buffers fit into a core's cache


class BPKD(Method):
    """Edges pixel by pixel, bodies channel by channel, separated by the labels; the authors published no training code.

    M (B, K, h, w) is the share of a cell's pixels on the edge of a class (`edge_masks`), V (B, 1, h, w) the share with
    a label. phi_p = T^2 KL(softmax_c(z^T M / T) || softmax_c(z^S M / T)) at cell p.
    edge = alpha / B sum over b, c of (sum over p of phi_p M_cp) / n_bc, n_bc the number of cells with M > 0, at least 1;
    `edge_size: mass` takes the sum of M instead, as a later version of that code does.
    body = T^2 / (B K) sum over b, c of KL over positions of the softmaxes of z (1 - M) V / T.
    Both masks enter the logits, so a gradient passes through them. Without a label both terms are exactly zero.
    """

    title = "boundary privileged distillation (formula of a third party)"
    source = (
        "Liu et al. 2024, arXiv 2306.08075; no official training code (AkideLiu/BPKD has configs and checkpoints only):"
        " after the third-party lamnmh05/Semantic-Segmentation-with-Knowledge-Distilled-SegFormer@25d60b7"
        " src/distillers/bpkd.py"
    )
    terms = ("edge", "body")
    published = {
        "edge": "third party: 50, alpha 2, T 4, window 7 (its defaults); 4 to 5, T 1.5 to 2 (its ADE20K configs)",
        "body": "third party: 20, T 4 (its defaults); 2, T 1.5 to 2 (its ADE20K configs)",
    }
    params = {
        "temperature": {"type": "number", "above": 0, "default": 4.0},
        "alpha": {"type": "number", "above": 0, "default": 2.0},
        "edge_radius": {"type": "integer", "at_least": 0, "default": 3},
        "edge_size": {"type": "choice", "of": ("cells", "mass"), "default": "cells"},
    }
    implementations = ("reference", "tuned")
    reads = {"edge": ("logits",), "body": ("logits",)}
    cost = (
        "one-hot labels of K H W elements and three poolings of them as published; as tuned K/32 integers a pixel"
        " a few times, and then the softmaxes of B K h w logits"
    )
    made_fast_by = (
        "edge masks from the label map: a set of classes is bits of 32-bit integers, windows by doubling unions,"
        " pixels of a cell counted for 32 classes at once; masked softmax divergences with their gradient in one"
        " pass over cache-sized blocks"
    )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"edge": scalar, "body": scalar}, as far as active."""
        assert student.logits is not None
        assert teacher.logits is not None
        ours, theirs = student.logits, teacher.logits
        tuned = self.implementation == TUNED
        edges, labelled = self._masks(ours, batch.target)
        terms = {}
        if "edge" in self.active_terms:
            cells = edges > 0 if self.settings["edge_size"] == "cells" else edges
            sizes = cells.sum((2, 3)).clamp(min=1)
            edge = _edge if tuned else _published_edge
            terms["edge"] = self.settings["alpha"] * edge(ours, theirs, edges, sizes, self.settings["temperature"])
        if "body" in self.active_terms:
            body = _body if tuned else _published_body
            terms["body"] = body(ours, theirs, (1 - edges) * labelled, self.settings["temperature"])
        return terms

    def _masks(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """M and V for logits (B, K, h, w), in loss precision."""
        about = (target, self.num_classes, (logits.shape[-2], logits.shape[-1]), self.settings["edge_radius"])
        dtype = in_loss_precision(logits[:0]).dtype
        if self.implementation != TUNED:
            return edge_masks(*about, dtype)
        return fast_edge_masks(*about, dtype, channels_last=_in_rows(logits))


def _published_edge(student: Tensor, teacher: Tensor, edges: Tensor, sizes: Tensor, temperature: float) -> Tensor:
    """The edge term divided by alpha; the map of divergences is repeated for each class."""
    divergence = _published_kl(student, teacher, edges, temperature, dim=1)
    by_class = (divergence[:, None] * edges).sum((2, 3)) / sizes
    return by_class.sum(1).mean()


def _published_body(student: Tensor, teacher: Tensor, bodies: Tensor, temperature: float) -> Tensor:
    """The body term: divergences (B, K) of softmaxes over positions."""
    return _published_kl(student.flatten(2), teacher.flatten(2), bodies.flatten(2), temperature, dim=2).mean()


def _published_kl(student: Tensor, teacher: Tensor, mask: Tensor, temperature: float, dim: int) -> Tensor:
    """T^2 KL along `dim` of logits times `mask`; exactly zero where the mask is, since both softmaxes are then equal."""
    ours = F.log_softmax(in_loss_precision(student) * mask / temperature, dim)
    theirs = F.log_softmax(in_loss_precision(teacher) * mask / temperature, dim)
    return F.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim) * temperature**2


def _edge(student: Tensor, teacher: Tensor, edges: Tensor, sizes: Tensor, temperature: float) -> Tensor:
    """The same with one weight for each cell, the sum over classes of M / n, and no map of divergences."""
    with torch.autocast(edges.device.type, enabled=False):
        weights = (1 / sizes.to(edges.dtype))[:, None] @ edges.flatten(2)
    total: Tensor = _MaskedKL.apply(student, teacher, edges, weights, temperature)
    return total * (temperature**2 / len(edges))


def _body(student: Tensor, teacher: Tensor, bodies: Tensor, temperature: float) -> Tensor:
    """The same in one pass."""
    total: Tensor = _MaskedKL.apply(student, teacher, bodies, None, temperature)
    return total * (temperature**2 / bodies.shape[:2].numel())


class _MaskedKL(torch.autograd.Function):
    """Sum of KL(softmax(teacher mask / T) || softmax(student mask / T)): with `weights` (B, 1, N) softmax over classes
    and a weight for each position, and without them over positions.

    The gradient is computed together with the value and returned by the first backward; a second one computes it again.
    """

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, mask: Tensor, weights: Tensor | None, temperature: float
    ) -> Tensor:
        ctx.save_for_backward(student)
        ctx.given = (teacher, mask, weights, temperature)
        value, ctx.gradient = _sweep(student, *ctx.given)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient = ctx.gradient
        if gradient is None:
            gradient = _sweep(ctx.saved_tensors[0], *ctx.given)[1]
        ctx.gradient = None
        return gradient.mul_(upstream), None, None, None, None


def _sweep(
    student: Tensor, teacher: Tensor, mask: Tensor, weights: Tensor | None, temperature: float
) -> tuple[Tensor, Tensor]:
    """(value, gradient in the student's type and layout)."""
    gradient = torch.empty_like(student)
    in_rows = _in_rows(gradient)
    places, ours, theirs, masks = (
        _lines(tensor, over_classes=weights is not None, in_rows=in_rows)
        for tensor in (gradient, student, teacher, mask)
    )
    if weights is not None and in_rows:
        weights = weights.view(-1, 1, 1)
    total = torch.zeros((), dtype=mask.dtype, device=mask.device)
    for block in _blocks(ours):
        scale = masks[block] * (LOG2_E / temperature)
        q, ours_log, ours_sum = _powers(ours[block] * scale)
        p, theirs_log, theirs_sum = _powers(theirs[block] * scale)
        ratio = ours_log.sub_(theirs_log).sub_(ours_sum.div_(theirs_sum).log2_()).div_(LOG2_E)
        slope = q.sub_(p)
        divergence = _divergence(p, ratio, slope).sum(1, keepdim=True)
        slope.mul_(scale)
        if weights is not None:
            by_line = weights[block[0], :, block[2]]
            divergence *= by_line
            slope *= by_line
        total += divergence.sum()
        places[block] = slope
    return total, gradient.div_(LOG2_E)  # which the scale already contains


def _divergence(p: Tensor, ratio: Tensor, slope: Tensor) -> Tensor:
    """The summand of KL(p || q) of each entry, from u = log(q / p) and q - p: q - p - p u, overwriting u.

    For a student near its teacher the first order cancels, in the sum and here, and only rounding would remain; for
    small u it is therefore the series of p (exp(u) - 1 - u) without u^3 / 60, which is less than the rounding above that u.
    """
    small = torch.finfo(ratio.dtype).eps ** 0.2
    near = torch.add(1 / 6, ratio, alpha=1 / 24).mul_(ratio).add_(1 / 2).mul_(ratio).mul_(ratio)
    return torch.where(ratio.abs() < small, near.mul_(p), slope - ratio.mul_(p))


def _powers(exponents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax to base 2 along axis 1 (twice as fast as to base e on a CPU), the exponents less their largest, the sum."""
    exponents -= exponents.amax(1, keepdim=True)
    powers = exponents.exp2()
    total = powers.sum(1, keepdim=True)
    return powers.mul_(total.reciprocal()), exponents, total


def _in_rows(logits: Tensor) -> bool:
    """Whether the classes of a position are adjacent in memory."""
    return logits.is_contiguous(memory_format=torch.channels_last) and not logits.is_contiguous()


def _lines(maps: Tensor, *, over_classes: bool, in_rows: bool) -> Tensor:
    """(B, K, h, w) with softmax's axis in the middle, in the order of its memory, copied only if it is in neither."""
    if in_rows:
        rows = maps.permute(0, 2, 3, 1)
        return rows.reshape(-1, maps.shape[1], 1) if over_classes else rows.flatten(1, 2)
    return maps.flatten(2) if over_classes else maps.reshape(-1, maps.shape[2:].numel(), 1)


def _blocks(lines: Tensor) -> Iterator[tuple[slice, slice, slice]]:
    """Whole lines, `BLOCK_ELEMENTS` together, but at least 64 neighbouring ones."""
    outer, length, inner = lines.shape
    limit = lines.numel() if lines.is_cuda else BLOCK_ELEMENTS
    each, width = max(1, limit // (length * inner)), max(64, limit // length)
    for start in range(0, outer, each):
        for left in range(0, inner, width):
            yield slice(start, start + each), slice(None), slice(left, left + width)
