"""Plain feature distillation: regress the teacher's feature (FitNets, Romero et al. 2015, arXiv 1412.6550)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from isoclock.methods.contract import Batch, Draw, Method, in_loss_precision
from isoclock.methods.projector import build_projector
from isoclock.models.outputs import SegmenterOutput


class FitNet(Method):
    """L = mean over B, C_T, h, w of (P f^S - f^T)^2, P a trainable 1x1 projector.

    Where the published code taps the student after dropout, ours taps both before it.
    """

    title = "feature KD (FitNets)"
    source = "Romero et al. 2015, arXiv 1412.6550; winycg/CIRKD@2d8ad0f losses/fitnet.py"
    terms = ("fitnet",)
    published = {"fitnet": "weight 10 at the head tap, beside KD of weight 1 (CIRKD scripts)"}
    params = {
        "tap": {"type": "choice", "of": ("head", "backbone"), "default": "head"},
        "projector": {"type": "choice", "of": ("conv", "conv-bn", "conv-bn-relu"), "default": "conv"},
    }

    def build(self) -> None:
        """The projector, C_S to C_T channels."""
        if self.active_terms:
            tap = self.settings["tap"]
            self.projector = build_projector(
                self.settings["projector"], self.student_channels.of(tap), self.teacher_channels.of(tap)
            )

    def needs(self) -> frozenset[str]:
        """The chosen tap of both; at `backbone`, no head has to run for it."""
        return frozenset({self.settings["tap"]}) if self.active_terms else frozenset()

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"fitnet": scalar}."""
        if not self.active_terms:
            return {}
        tap = self.settings["tap"]
        projected = in_loss_precision(self.projector(student.features[tap]))
        return {"fitnet": F.mse_loss(projected, in_loss_precision(teacher.features[tap]))}
