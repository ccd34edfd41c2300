"""Attention transfer (Zagoruyko and Komodakis, ICLR 2017, arXiv 1612.03928): match where the features are large."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.kernels.precision import in_loss_precision
from isoclock.kernels.squared_error import block_elements
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput

LEAST_NORM = 1e-12


class AT(Method):
    """L = mean over B, h w of (a^S - a^T)^2, a(f) = m / |m|, m = mean over channels of f^2 as a vector of h w positions.

    No projector: the channel counts may differ. The loss is of the order of 1 / (h w)^2 before its weight of 10,000,
    and the weight belongs to a map size: on a grid k times smaller the term is about k times larger.
    """

    title = "attention transfer"
    source = "Zagoruyko and Komodakis 2017, arXiv 1612.03928; winycg/CIRKD@2d8ad0f losses/at.py"
    terms = ("at",)
    published = {"at": "weight 10000 at the head tap, together with KD of weight 1 (CIRKD scripts)"}
    params = {"tap": {"type": "choice", "of": ("head", "backbone"), "default": "head"}}
    implementations = ("reference", "tuned")
    reads = {"at": ("{tap}",)}
    cost = "reading both maps once: B h w (C_S + C_T)"
    made_fast_by = (
        "one pass of squares summed over channels, block by block; the gradient is one product, only the"
        " feature is saved"
    )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"at": scalar}."""
        ours, theirs = student.features[self.settings["tap"]], teacher.features[self.settings["tap"]]
        if self.implementation == "tuned":
            attention = F.normalize(_MeanSquare.apply(ours).flatten(1), eps=LEAST_NORM)
            return {"at": F.mse_loss(attention, F.normalize(_mean_square(theirs).flatten(1), eps=LEAST_NORM))}
        return {"at": (_attention(ours) - _attention(theirs)).pow(2).mean()}


def _attention(feature: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h w), of length 1."""
    return F.normalize(in_loss_precision(feature).pow(2).mean(1).flatten(1), eps=LEAST_NORM)


def _mean_square(feature: Tensor) -> Tensor:
    """Mean over channels of the squares (B, h, w) without a map of squares."""
    precision = torch.float64 if feature.dtype == torch.float64 else torch.float32
    images, channels, height, width = feature.shape
    if feature.is_contiguous(memory_format=torch.channels_last):  # a pixel's channels are adjacent in memory
        return torch.linalg.vector_norm(feature, dim=1, dtype=precision).square_().div_(channels)
    total = torch.zeros(images, height, width, dtype=precision, device=feature.device)
    step = max(1, block_elements(feature.device) // max(1, images * height * width))
    for start in range(0, channels, step):
        total += feature[:, start : start + step].to(precision).square().sum(1)
    return total.div_(channels)


class _MeanSquare(torch.autograd.Function):
    """`_mean_square`, of which only the feature itself is kept."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> Tensor:
        ctx.save_for_backward(feature)
        return _mean_square(feature)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> Tensor:
        (feature,) = ctx.saved_tensors
        return feature * (outer[:, None] * (2 / feature.shape[1])).to(feature.dtype)
