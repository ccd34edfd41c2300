"""Relational knowledge distillation (Park et al., CVPR 2019, arXiv 1904.05068): distances and angles between images."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from isoclock.kernels.grouping import mean_over_groups
from isoclock.kernels.precision import in_loss_precision
from isoclock.methods.card import TUNED
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput

LEAST_SQUARE = 1e-12
"""Smaller squared distances are replaced by this value, in the distance term."""
LEAST_NORM = 1e-12
"""Smaller norms are replaced by this value, in the angle term."""
SAME_IMAGE = 1e-14
"""Two embeddings whose squared distance is below this share of their squared norms count as equal in float64."""
BLOCK = {"cpu": 1 << 18, "cuda": 1 << 26}
"""Elements in float64 at a time: 2 MiB on a CPU, elsewhere 512 MiB."""


class RKD(Method):
    """distance = 1/B^2 sum over i, j of H(d^S_ij - d^T_ij), angle = 1/B^3 sum over i, j, k of H(a^S_ijk - a^T_ijk).

    One embedding e_i an image: the feature's average over its positions (pool "gap", C numbers) or the whole map
    (pool "flatten", C h w numbers). d_ij = |e_i - e_j| over the mean of all d_ij of different images, a_ijk = cos of the
    angle at image i between images j and k, H(x) = x^2 / 2 up to |x| = 1 and |x| - 1/2 beyond (smooth L1).

    Under autocast the published distances lose the digits in which two images differ, as their products are rounded.

    A relation needs several images: for one or two images both terms are exactly 0. The published code gives NaN for one
    image. B are the images of one device: the terms are means over groups of `images_per_group` consecutive images (0:
    the batch is one group).
    """

    title = "relational knowledge distillation"
    source = "Park et al. 2019, arXiv 1904.05068; HobbitLong/RepDistiller@b84f547 distiller_zoo/RKD.py"
    terms = ("distance", "angle")
    published = {
        "distance": "weight 25 (RepDistiller, CIFAR-100; no segmentation run is known)",
        "angle": "weight 50 (RepDistiller, CIFAR-100; no segmentation run is known)",
    }
    params = {
        "tap": {"type": "choice", "of": ("head", "backbone"), "default": "head"},
        "pool": {"type": "choice", "of": ("gap", "flatten"), "default": "gap"},
        "images_per_group": {"type": "integer", "at_least": 0, "default": 64},
    }
    implementations = ("reference", "tuned")
    reads = {"distance": ("{tap}",), "angle": ("{tap}",)}
    cost = (
        "B^2 D, D = C (gap) or C h w (flatten); with gap it is reading the two maps. Both terms are 0 below three"
        " images"
    )
    made_fast_by = (
        "whole maps: B x B Gram matrices of centred embeddings in float64, streamed in blocks, in place of B x B x D"
        " differences; the gradient is one B x B matrix times the embeddings. Pooled: nothing to gain"
    )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"distance": scalar, "angle": scalar}, as far as active."""
        ours, theirs = (output.features[self.settings["tap"]] for output in (student, teacher))
        if self.settings["pool"] == "gap":
            ours, theirs = (in_loss_precision(feature).mean((2, 3)) for feature in (ours, theirs))
        values = mean_over_groups(self._terms, self.settings["images_per_group"], ours, theirs)
        return {term: value for term, value in zip(self.terms, values, strict=True) if term in self.active_terms}

    def _terms(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Both terms (2,); zero for one that is not active."""
        if self.implementation == TUNED:
            return torch.stack(_Relations.apply(ours, theirs, self.active_terms))
        ours, theirs = (in_loss_precision(feature).flatten(1) for feature in (ours, theirs))
        zero = ours.new_zeros(())
        return torch.stack(
            [
                function(ours, theirs) if term in self.active_terms else zero
                for term, function in (("distance", _distance), ("angle", _angle))
            ]
        )


def _distance(student: Tensor, teacher: Tensor) -> Tensor:
    """The distance term of two sets of embeddings (B, D), as published: |a|^2 + |b|^2 - 2ab, and a mask of positives."""
    if len(student) < 2:
        return (student * 0).sum()
    return F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))


def _relative_distances(embeddings: Tensor) -> Tensor:
    squares = embeddings.square().sum(1)
    squared = (squares[:, None] + squares[None] - in_loss_precision(2 * embeddings @ embeddings.t())).clamp(
        min=LEAST_SQUARE
    )
    apart = 1 - torch.eye(len(embeddings), dtype=squared.dtype, device=squared.device)
    distances = squared.sqrt() * apart
    return distances / distances[distances > 0].mean()


def _angle(student: Tensor, teacher: Tensor) -> Tensor:
    """The angle term of two sets of embeddings, as published: all B x B differences, normalised, as (B, B, D) tensors."""
    return F.smooth_l1_loss(_cosines(student), _cosines(teacher))


def _cosines(embeddings: Tensor) -> Tensor:
    directions = F.normalize(embeddings[None] - embeddings[:, None], p=2, dim=2, eps=LEAST_NORM)
    return in_loss_precision(torch.bmm(directions, directions.transpose(1, 2)))


class _Relations(torch.autograd.Function):
    """Both terms from the B x B Gram matrices of the embeddings, minus their mean, in float64.

    (e_j - e_i)(e_k - e_i) = G_jk - G_ij - G_ik + G_ii needs no B x B x D difference; the rounding error is 1e-16 of the
    norms. The B x B and B x B x B tensors are small. The gradient of each term is a B x B matrix times the embeddings.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, active: frozenset[str]) -> tuple[Tensor, Tensor]:
        gram, others = _centred_gram(student), _centred_gram(teacher)
        with torch.enable_grad():
            gram.requires_grad_()
            terms = {}
            if "distance" in active:
                terms["distance"] = _distance_of_gram(gram, others)
            if "angle" in active:
                terms["angle"] = _angle_of_gram(gram, others)
        slopes = [
            torch.autograd.grad(terms[term], gram)[0] if term in terms else torch.zeros_like(gram)
            for term in ("distance", "angle")
        ]
        ctx.save_for_backward(student, *slopes)
        dtype = torch.float64 if student.dtype == torch.float64 else torch.float32
        zero = gram.new_zeros(())
        return tuple(terms.get(term, zero).detach().to(dtype) for term in ("distance", "angle"))  # type: ignore[return-value]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, distance: Tensor, angle: Tensor) -> tuple[Tensor, None, None]:
        student, *slopes = ctx.saved_tensors
        slope = slopes[0] * distance + slopes[1] * angle
        slope = slope + slope.t()  # d of a symmetric product
        slope = slope - slope.mean(0)  # the mean was subtracted from the embeddings
        gradient = torch.empty_like(student)
        for source, target in zip(_blocks(student), _blocks(gradient), strict=True):
            rows = source.flatten(1).double()
            target.copy_((slope @ (rows - rows.mean(0))).view(source.shape))
        return gradient, None, None


def _blocks(embeddings: Tensor) -> tuple[Tensor, ...]:
    """The embeddings (B, ...) in views (B, n, ...) of about `BLOCK` elements, in the order of memory."""
    if embeddings.dim() == 4 and not embeddings.is_contiguous():
        embeddings = embeddings.permute(0, 2, 3, 1)  # channels last
    most = BLOCK.get(embeddings.device.type, BLOCK["cuda"])
    size = embeddings.shape[1] * most // max(1, embeddings.numel())
    return embeddings.split(max(1, size), dim=1)


def _centred_gram(embeddings: Tensor) -> Tensor:
    gram = torch.zeros(len(embeddings), len(embeddings), dtype=torch.float64, device=embeddings.device)
    for block in _blocks(embeddings):
        rows = block.flatten(1).double()
        rows = rows - rows.mean(0)
        gram.addmm_(rows, rows.t())
    return gram


def _squared_distances(gram: Tensor) -> tuple[Tensor, Tensor]:
    """|e_i - e_j|^2, and 1.0 where i and j differ; exactly 0 where two embeddings are the same."""
    squares = gram.diagonal()
    norms = squares[:, None] + squares[None]
    apart = 1 - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    squared = norms - 2 * gram
    return torch.where(squared > SAME_IMAGE * norms, squared, 0.0) * apart, apart


def _distance_of_gram(student: Tensor, teacher: Tensor) -> Tensor:
    relative = []
    for gram in (student, teacher):
        squared, apart = _squared_distances(gram)
        distances = squared.clamp(min=LEAST_SQUARE).sqrt() * apart
        relative.append(distances * (max(1, len(gram) * (len(gram) - 1)) / distances.sum().clamp(min=LEAST_NORM)))
    return F.smooth_l1_loss(relative[0], relative[1])


def _angle_of_gram(student: Tensor, teacher: Tensor) -> Tensor:
    cosines = []
    for gram in (student, teacher):
        squared, _ = _squared_distances(gram)
        # 0 where both are the same image: the rounding error left in `products` would be divided by almost nothing.
        inverse = torch.where(squared > 0, squared.clamp(min=LEAST_NORM**2).rsqrt(), 0.0)
        products = gram[None] - gram[:, :, None] - gram[:, None] + gram.diagonal()[:, None, None]
        cosines.append(products * inverse[:, :, None] * inverse[:, None])
    return F.smooth_l1_loss(cosines[0], cosines[1])
