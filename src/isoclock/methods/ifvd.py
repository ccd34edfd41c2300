"""Intra-class feature variation distillation (Wang et al., ECCV 2020): the similarity of a pixel to the centre of its class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from isoclock.kernels.labels import labels_on_grid
from isoclock.kernels.precision import in_loss_precision
from isoclock.methods.card import TUNED
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput

COUNT_EPS, NORM_EPS = 1e-6, 1e-8
BLOCK_ELEMENTS = 1 << 18  # of a feature, processed together: 1 MiB of float32, which fits into a core's cache
FEW_CLASSES = 32  # up to here a product with one-hot labels is no slower than scattering planes


class IFVD(Method):
    """L = 1 / (B N) sum over labelled pixels p of (v^S_p - v^T_p)^2, N = h w, with v_p = cos(f_p, m_y(p)) over channels.

    m_c = (sum of f_p over the image's pixels of class c) / (n_c + 1e-6) is the class's centre in that image, y the
    labels, nearest on the grid; f (B, C, h, w) is the tap, each network with its own channels and no projector. The
    gradient flows through pixels and centres. Ignored pixels are compared with themselves, so they add exactly zero,
    but count in N. The published code goes through all K classes, present or not, and keeps a pair of (B, C, h, w) masks
    for each.
    """

    title = "intra-class feature variation distillation"
    source = (
        "Wang et al. 2020, ECCV; YukangWang/IFVD@950a7a5 utils/criterion.py; winycg/CIRKD@2d8ad0f losses/ifvd.py"
        " (same values)"
    )
    terms = ("ifvd",)
    published = {"ifvd": "weight 200 (YukangWang/IFVD, with KD 10 and a GAN), 20 (CIRKD, with KD 1 and a GAN)"}
    params = {"tap": {"type": "choice", "of": ("head", "backbone"), "default": "head"}}
    implementations = ("reference", "tuned")
    reads = {"ifvd": ("{tap}",)}
    cost = (
        "K full passes of about ten operations over both features as published, masks and maps of each class kept"
        " for backward; as tuned two passes over each feature and one more for the gradient, for any K"
    )
    made_fast_by = (
        "class centres by scattered sums (a product with one-hot labels on a GPU), similarity and gradient from"
        " (K, C) centres: no loop over classes, no mask, no map of centres; only norms and similarities wait for"
        " backward"
    )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"ifvd": scalar}."""
        ours, theirs = student.features[self.settings["tap"]], teacher.features[self.settings["tap"]]
        labels = labels_on_grid(batch.target, (ours.shape[-2], ours.shape[-1]))
        if self.implementation == TUNED:
            return {"ifvd": _Variation.apply(ours, theirs, labels, self.num_classes)}
        ours, theirs = in_loss_precision(ours), in_loss_precision(theirs)
        difference = _similarity(ours, labels, self.num_classes) - _similarity(theirs, labels, self.num_classes)
        known = (labels >= 0) & (labels < self.num_classes)
        return {"ifvd": torch.where(known, difference, 0.0).square().mean()}


def _similarity(feature: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """v (B, h, w) as published: class after class is written over a copy of the whole map."""
    spread = labels[:, None].expand(feature.shape)
    centres = feature.clone()
    for train_id in range(num_classes):
        mask = (spread == train_id).to(feature.dtype)
        centre = (mask * feature).sum((2, 3)) / (mask.sum((2, 3)) + COUNT_EPS)
        centres = (1 - mask) * centres + mask * centre[:, :, None, None]
    return F.cosine_similarity(feature, centres, dim=1, eps=NORM_EPS)


class _Variation(torch.autograd.Function):
    """The loss, from centres (B, K + 1, C), without a map of them; the last one collects pixels without a class.

    Saved for backward: labels, similarities, norms and the student's centres. With g_p = dL/dv_p, a_p = g_p / |f_p| and
    u_c = m_c / |m_c|, the gradient is a_p u_y(p) - g_p v_p f_p / |f_p|^2, and through the centre
    (sum over the class of a f - u sum over the class of g v) / (|m| (n + 1e-6)).
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, labels: Tensor, num_classes: int) -> Tensor:
        with torch.autocast(student.device.type, enabled=False):
            known = (labels >= 0) & (labels < num_classes)
            classes = torch.where(known, labels, num_classes).flatten(1)
            pixels = torch.zeros(len(classes), num_classes + 1, device=student.device)
            pixels.scatter_add_(1, classes, torch.ones_like(classes, dtype=pixels.dtype))
            ours, theirs = (_ByClass(feature, classes, pixels) for feature in (student, teacher))
            expected, _, _, _ = theirs.similarity()
            found, lengths, directions, centre_lengths = ours.similarity()
            difference = torch.where(known.flatten(1), found - expected.to(found.dtype), 0.0)
            ctx.save_for_backward(student, classes, pixels, difference, found, lengths, directions, centre_lengths)
            return difference.square().mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        student, classes, pixels, difference, found, lengths, directions, centre_lengths = ctx.saved_tensors
        with torch.autocast(student.device.type, enabled=False):
            ours = _ByClass(student, classes, pixels)
            by_similarity = difference * (2 * gradient / difference.numel())
            along = by_similarity / lengths
            shrunk = by_similarity * found
            pulls = torch.zeros_like(centre_lengths).scatter_add_(1, classes, shrunk)
            through_centre = ours.sums(along).sub_(directions * pulls[..., None])
            through_centre /= (centre_lengths * (ours.pixels + COUNT_EPS))[..., None]
            return ours.gradient(along, shrunk / lengths.square(), directions, through_centre), None, None, None


class _ByClass:
    """A feature (B, C, h, w) whose pixels are summed by class, or combined with a vector of their class, block by block."""

    def __init__(self, feature: Tensor, classes: Tensor, pixels: Tensor) -> None:
        self.feature = feature
        self.classes = classes
        self.dtype = torch.float64 if feature.dtype == torch.float64 else torch.float32
        self.pixels = pixels.to(self.dtype)
        rows = feature.permute(0, 2, 3, 1)
        self.in_rows = rows.is_contiguous() and not feature.is_contiguous()  # a pixel's channels are adjacent in memory
        # (B, N, C) or (B, C, N), without a copy for both layouts; `channel` is the axis of the channels.
        self.flat = rows.flatten(1, 2) if self.in_rows else feature.flatten(2)
        self.channel = 2 if self.in_rows else 1
        self.by_product = feature.is_cuda or (pixels.shape[1] <= FEW_CLASSES and not self.in_rows)

    def similarity(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """v (B, N), |f| (B, N), centres' directions (B, K + 1, C) and lengths (B, K + 1); lengths at least 1e-8."""
        centres = self.sums() / (self.pixels + COUNT_EPS)[..., None]
        centre_lengths = centres.square().sum(2).sqrt_().clamp_(min=NORM_EPS)
        directions = centres.div_(centre_lengths[..., None])
        dots, squares = [], []
        for block, classes, _ in self._blocks():
            if self.by_product:
                of_all = directions @ block if self.channel == 1 else directions @ block.transpose(1, 2)
                dots.append(of_all.gather(1, classes[:, None]).squeeze(1))
            else:
                dots.append(self._of_class(directions, classes).mul_(block).sum(self.channel))
            squares.append(block.square().sum(self.channel))
        lengths = torch.cat(squares, 1).sqrt_().clamp_(min=NORM_EPS)
        return torch.cat(dots, 1).div_(lengths), lengths, directions, centre_lengths

    def sums(self, weights: Tensor | None = None) -> Tensor:
        """(B, K + 1, C): the sum of each class's pixels, each times its weight (B, N)."""
        images, classes, channels = len(self.pixels), self.pixels.shape[1], self.feature.shape[1]
        total = self.flat.new_zeros((images, classes, channels), dtype=self.dtype)
        planes = total.transpose(1, 2).contiguous() if not self.in_rows else total
        for block, ids, where in self._blocks():
            weighted = None if weights is None else weights[:, where]
            if self.by_product:
                one_hot = block.new_zeros(images, classes, ids.shape[1])
                one_hot.scatter_(1, ids[:, None], 1.0 if weighted is None else weighted[:, None])
                total.baddbmm_(one_hot, block.transpose(1, 2) if self.channel == 1 else block)
                continue
            values = block if weighted is None else block * weighted.unsqueeze(self.channel)
            if self.in_rows:
                total.view(-1, channels).index_add_(0, self._rows(ids), values.reshape(-1, channels))
            else:
                planes.scatter_add_(2, ids[:, None].expand(values.shape), values)
        return total if self.by_product or self.in_rows else planes.transpose(1, 2)

    def gradient(self, along: Tensor, shrink: Tensor, directions: Tensor, through_centre: Tensor) -> Tensor:
        """along * directions_y - shrink * f + through_centre_y, in the feature's layout and type."""
        result = torch.empty_like(self.feature)
        flat = result.permute(0, 2, 3, 1).flatten(1, 2) if self.in_rows else result.flatten(2)
        directions, through_centre = directions.contiguous(), through_centre.contiguous()
        for block, classes, where in self._blocks():
            part = self._of_class(directions, classes).mul_(along[:, where].unsqueeze(self.channel))
            part.addcmul_(block, shrink[:, where].unsqueeze(self.channel), value=-1)
            part += self._of_class(through_centre, classes)
            (flat[:, where] if self.in_rows else flat[:, :, where]).copy_(part)
        return result

    def _of_class(self, vectors: Tensor, classes: Tensor) -> Tensor:
        """The class's vector at each pixel of a block: (B, n, C) or (B, C, n) from (B, K + 1, C)."""
        images, pixels = classes.shape
        if self.in_rows:
            return vectors.flatten(0, 1).index_select(0, self._rows(classes)).view(images, pixels, -1)
        return vectors.transpose(1, 2).gather(2, classes[:, None].expand(-1, vectors.shape[2], -1))

    def _rows(self, classes: Tensor) -> Tensor:
        """Positions in all images' centres, one below the other."""
        starts = torch.arange(len(classes), device=classes.device) * self.pixels.shape[1]
        return (classes + starts[:, None]).flatten()

    def _blocks(self) -> Iterator[tuple[Tensor, Tensor, slice]]:
        """Pixels of all images a block at a time, in loss precision, with their classes and their place."""
        total = self.classes.shape[1]
        step = max(1, BLOCK_ELEMENTS // (len(self.classes) * self.feature.shape[1]))
        if self.feature.is_cuda:
            step = total
        for start in range(0, total, step):
            where = slice(start, min(start + step, total))
            block = self.flat[:, where] if self.in_rows else self.flat[:, :, where]
            yield in_loss_precision(block), self.classes[:, where], where
