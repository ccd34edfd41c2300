"""Pearson-correlation distillation (PKD, Cao et al., NeurIPS 2022, arXiv 2207.02039): match standardised features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from isoclock.kernels.grouping import mean_over_groups
from isoclock.kernels.normalising import standardised
from isoclock.kernels.precision import in_loss_precision
from isoclock.kernels.projector import build_projector
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput


class PKD(Method):
    """L = 1/2 mean over B, C_T, h, w of (s(P f^S) - s(f^T))^2, which is 1 - Pearson correlation averaged over channels.

    s gives every channel mean 0 and deviation 1 over B h w positions (the unbiased deviation, plus 1e-6), P is a
    trainable 1x1 projector. The published code, made for detectors with equal widths, has no projector and sums over
    pyramid levels; here one tap is matched. The statistics are those of the images of one device, so L is the mean over
    groups of `images_per_group` consecutive images (0: the batch is one group).
    """

    title = "feature correlation (PKD)"
    source = "Cao et al. 2022, arXiv 2207.02039; open-mmlab/mmrazor@90c7af1 mmrazor/models/losses/pkd_loss.py"
    terms = ("pkd",)
    published = {"pkd": "default weight 1 (mmrazor PKDLoss); nothing published for segmentation"}
    params = {
        "tap": {"type": "choice", "of": ("head", "backbone"), "default": "head"},
        "projector": {"type": "choice", "of": ("conv", "conv-bias", "conv-bn", "conv-bn-relu"), "default": "conv"},
        "images_per_group": {"type": "integer", "at_least": 0, "default": 2},
    }
    reads = {"pkd": ("{tap}",)}
    cost = (
        "three products of C_S x C_T over B h w pixels; as published, most time goes into about ten passes over"
        " maps of C_T channels"
    )

    def build(self) -> None:
        """The projector, C_S to C_T channels."""
        tap = self.settings["tap"]
        self.projector = build_projector(
            self.settings["projector"], self.student_channels.of(tap), self.teacher_channels.of(tap)
        )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"pkd": scalar}."""
        ours, theirs = student.features[self.settings["tap"]], teacher.features[self.settings["tap"]]
        return {"pkd": mean_over_groups(self._distance, self.settings["images_per_group"], ours, theirs)}

    def _distance(self, ours: Tensor, theirs: Tensor) -> Tensor:
        projected = standardised(in_loss_precision(self.projector(ours)))
        return F.mse_loss(projected, standardised(in_loss_precision(theirs))) / 2
