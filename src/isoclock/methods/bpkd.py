"""Boundary privileged distillation (Liu et al., WACV 2024, arXiv 2306.08075), after a third party's code."""

from __future__ import annotations

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
        " pixels of a cell counted for 32 classes at once; one weight for a cell instead of its divergence for each"
        " class, and the gradient together with the value"
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
        return (fast_edge_masks if self.implementation == TUNED else edge_masks)(*about, dtype)


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
    """The same with one weight for each cell, the sum over classes of M / n."""
    weights = (edges / sizes[:, :, None, None]).sum(1, keepdim=True)
    total: Tensor = _MaskedKL.apply(student, teacher, edges, weights, temperature, 1)
    return total * (temperature**2 / len(edges))


def _body(student: Tensor, teacher: Tensor, bodies: Tensor, temperature: float) -> Tensor:
    """The same, with the gradient together with the value."""
    lines = (maps.flatten(2) for maps in (student, teacher, bodies))
    total: Tensor = _MaskedKL.apply(*lines, None, temperature, 2)
    return total * (temperature**2 / bodies.shape[:2].numel())


class _MaskedKL(torch.autograd.Function):
    """Sum over all but `dim` of weight KL(softmax(teacher mask / T) || softmax(student mask / T)), softmax along `dim`."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        mask: Tensor,
        weights: Tensor | None,
        temperature: float,
        dim: int,
    ) -> Tensor:
        scale = mask / temperature
        ours, theirs = (F.log_softmax(in_loss_precision(logits) * scale, dim) for logits in (student, teacher))
        p, slope = theirs.exp(), ours.exp()
        slope -= p
        divergence = _divergence(p, ours.sub_(theirs), slope).sum(dim, keepdim=True)
        slope *= scale
        if weights is not None:
            divergence *= weights
            slope *= weights
        ctx.save_for_backward(slope)
        ctx.dtype = student.dtype
        return divergence.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return (slope * outer).to(ctx.dtype), None, None, None, None, None


def _divergence(p: Tensor, ratio: Tensor, slope: Tensor) -> Tensor:
    """The summand of KL(p || q) of each entry, from u = log(q / p) and q - p: q - p - p u, or for small u p phi(u).

    phi(u) = exp(u) - 1 - u. For a student near its teacher the first order cancels in the sum, where only rounding would
    remain; the summands of the second form are of second order.
    """
    near = torch.expm1(ratio.clamp(-1, 1)).sub_(ratio).mul_(p)
    return torch.where(ratio.abs() < 1, near, slope - ratio * p)
