"""Attention transfer (Zagoruyko and Komodakis, ICLR 2017, arXiv 1612.03928): match where the features are large."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from isoclock.kernels.precision import in_loss_precision
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
    reads = {"at": ("{tap}",)}
    cost = "reading both maps once: B h w (C_S + C_T)"

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"at": scalar}."""
        ours, theirs = student.features[self.settings["tap"]], teacher.features[self.settings["tap"]]
        return {"at": (_attention(ours) - _attention(theirs)).pow(2).mean()}


def _attention(feature: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h w), of length 1."""
    return F.normalize(in_loss_precision(feature).pow(2).mean(1).flatten(1), eps=LEAST_NORM)
