"""Masked generative distillation (Yang et al., ECCV 2022, arXiv 2205.01529): rebuild the teacher from a part."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from isoclock.kernels.channel_divergence import channel_divergence
from isoclock.kernels.masking import masked_first_convolution, pixel_uniforms
from isoclock.kernels.precision import in_loss_precision
from isoclock.methods.card import TUNED
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput


class MGD(Method):
    """mgd = 1/B sum over b, c, h, w of (G(M * A f^S) - f^T)^2, and CWD on the logits as in the released configuration.

    A is a 1x1 convolution with bias (absent where C_S = C_T), M keeps each pixel of an image with probability 1 -
    mask_ratio, the same for all channels and fresh each time, G = 3x3 conv, ReLU, 3x3 conv, C_T channels throughout.
    The sum is divided by B only, so its size grows with C_T h w: a weight belongs to a tap and a crop.
    """

    title = "masked generative distillation"
    source = "Yang et al. 2022, arXiv 2205.01529; yzd-v/MGD@2c9da0b seg/mmseg/distillation/losses/mgd.py"
    terms = ("mgd", "cwd_logit")
    published = {
        "mgd": "weight 2e-5, mask_ratio 0.75, tap backbone, crop 512x512 (yzd-v/MGD)",
        "cwd_logit": "weight 3, T 4 (yzd-v/MGD, released segmentation configuration)",
    }
    params = {
        "tap": {"type": "choice", "of": ("backbone", "head"), "default": "backbone"},
        "mask_ratio": {"type": "number", "at_least": 0, "below": 1, "default": 0.75},
        "logit_temperature": {"type": "number", "above": 0, "default": 4.0},
    }
    implementations = ("reference", "tuned")
    reads = {"mgd": ("{tap}",), "cwd_logit": ("logits",)}
    cost = (
        "two 3x3 convolutions at C_T: 36 B h w C_T^2 multiply-adds forward and backward (three passes each), which"
        " dwarfs student and teacher at 2048 channels"
    )
    made_fast_by = (
        "alignment and mask are folded into the first 3x3 kernel, which then reads C_S + 1 channels instead of C_T;"
        " one operation for the squared error"
    )

    def build(self) -> None:
        """The alignment and the generator, if `mgd` is active: 9 C_T^2 twice, 75.5 M parameters at C_T = 2048."""
        if "mgd" not in self.active_terms:
            return
        ours = self.student_channels.of(self.settings["tap"])
        theirs = self.teacher_channels.of(self.settings["tap"])
        self.align = nn.Identity() if ours == theirs else nn.Conv2d(ours, theirs, 1)
        self.generation = nn.Sequential(
            nn.Conv2d(theirs, theirs, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(theirs, theirs, 3, padding=1)
        )

    def draw(self, student: SegmenterOutput, batch: Batch) -> Draw:  # noqa: ARG002
        """{"mask_uniform": (B, 1, h, w) float32 in [0, 1)}: a pixel is masked where it exceeds 1 - mask_ratio."""
        if "mgd" not in self.active_terms:
            return {}
        feature = student.features[self.settings["tap"]]
        return {"mask_uniform": pixel_uniforms(feature, self.generator(feature.device))}

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,
    ) -> dict[str, Tensor]:
        """{"mgd": scalar, "cwd_logit": scalar}, as far as active."""
        terms = {}
        if "mgd" in self.active_terms:
            ours, theirs = student.features[self.settings["tap"]], teacher.features[self.settings["tap"]]
            kept = draw["mask_uniform"] <= 1 - self.settings["mask_ratio"]
            rebuilt, expected = in_loss_precision(self._rebuilt(ours, kept)), in_loss_precision(theirs)
            tuned = self.implementation == TUNED
            squares = F.mse_loss(rebuilt, expected, reduction="sum") if tuned else (rebuilt - expected).square().sum()
            terms["mgd"] = squares / len(theirs)
        if "cwd_logit" in self.active_terms:
            assert student.logits is not None
            assert teacher.logits is not None
            terms["cwd_logit"] = channel_divergence(student.logits, teacher.logits, self.settings["logit_temperature"])
        return terms

    def _rebuilt(self, feature: Tensor, kept: Tensor) -> Tensor:
        """(B, C_S, h, w) and the mask (B, 1, h, w) to (B, C_T, h, w)."""
        if self.implementation == TUNED:
            hidden = masked_first_convolution(self.align, self.generation[0], feature, kept)
            return self.generation[1:](hidden)
        aligned = self.align(feature)
        return self.generation(aligned * kept.to(aligned.dtype))
