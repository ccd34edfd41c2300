"""Plain feature distillation: regress the teacher's feature (FitNets, Romero et al. 2015, arXiv 1412.6550)."""

from __future__ import annotations

from torch import Tensor

from isoclock.kernels.grouping import mean_over_groups
from isoclock.kernels.normalising import standardised, unit_vectors
from isoclock.kernels.precision import in_loss_precision
from isoclock.kernels.projector import build_projector
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput


class FitNet(Method):
    """L = mean over B, C_T, h, w of (n(P f^S) - n(f^T))^2, P a trainable 1x1 projector, f^S (B, C_S, h, w).

    `normalise`: n is the identity ("none", as published), makes each channel of mean 0 and deviation 1 over B, h, w
    ("channel": L is then twice PKD's), or makes each pixel's channel vector one of length 1 ("pixel").

    Statistics of channels, and of a projector's batch norm, are those of `images_per_group` consecutive images, as on one
    device (0: of the batch); without them the images are independent, and it has no effect.

    Where the published code taps the student after dropout, ours taps both before it.
    """

    title = "feature KD (FitNets)"
    source = "Romero et al. 2015, arXiv 1412.6550; winycg/CIRKD@2d8ad0f losses/fitnet.py"
    terms = ("fitnet",)
    published = {"fitnet": "weight 10 at the head tap, together with KD of weight 1 (CIRKD scripts)"}
    params = {
        "tap": {"type": "choice", "of": ("head", "backbone"), "default": "head"},
        "projector": {"type": "choice", "of": ("conv", "conv-bias", "conv-bn", "conv-bn-relu"), "default": "conv"},
        "normalise": {"type": "choice", "of": ("none", "channel", "pixel"), "default": "none"},
        "images_per_group": {"type": "integer", "at_least": 0, "default": 2},
    }
    reads = {"fitnet": ("{tap}",)}
    cost = (
        "three products of C_S x C_T over B h w pixels (each 4.3 GMAC at the head, 69 GMAC at the backbone for 8"
        " crops of 512x1024); as published, most time goes into writing and reading maps of C_T channels"
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
        """{"fitnet": scalar}."""
        ours, theirs = student.features[self.settings["tap"]], teacher.features[self.settings["tap"]]
        relates = self.settings["normalise"] == "channel" or "bn" in self.settings["projector"]
        size = self.settings["images_per_group"] if relates else 0
        return {"fitnet": mean_over_groups(self._squared_error, size, ours, theirs)}

    def _squared_error(self, ours: Tensor, theirs: Tensor) -> Tensor:
        normalise = self.settings["normalise"]
        projected, theirs = in_loss_precision(self.projector(ours)), in_loss_precision(theirs)
        if normalise == "channel":
            projected, theirs = standardised(projected), standardised(theirs)
        elif normalise == "pixel":
            projected, theirs = unit_vectors(projected, dim=1), unit_vectors(theirs, dim=1)
        return (projected - theirs).square().mean()
