"""Channel-wise distillation (Shu et al., ICCV 2021, arXiv 2011.13256): where each channel looks, as a distribution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from isoclock.methods.contract import Batch, Draw, Method, in_loss_precision
from isoclock.methods.projector import build_projector
from isoclock.models.outputs import LOGITS, SegmenterOutput


class CWD(Method):
    """L = T^2 / (B C) sum over b, c of KL(q^T || q^S), q = softmax of x / T over a channel's h w positions.

    tap "logit": x are the logits, C = K. tap "head" or "backbone": x are features, the student's through a trainable
    1x1 projector, and C is the teacher's channel count. `divisor: student_channels` divides by the channels of the
    *unprojected* student instead, as CIRKD and mmseg-distiller do: the term is then C_T / C_S times larger.
    """

    title = "channel-wise distillation"
    source = (
        "Shu et al. 2021, arXiv 2011.13256; irfanICMLL/TorchDistiller@78bac7c"
        " SemSeg-distill/utils/criterion.py (logit); winycg/CIRKD@2d8ad0f losses/cwd.py (feature)"
    )
    terms = ("cwd",)
    published = {
        "cwd": "logit: 3, T 4 (TorchDistiller), 5, T 1 (mmrazor); feature: 50, T 4, student_channels (CIRKD)",
    }
    params = {
        "tap": {"type": "choice", "of": ("logit", "head", "backbone"), "default": "logit"},
        "temperature": {"type": "number", "above": 0, "default": 4.0},
        "projector": {"type": "choice", "of": ("conv", "conv-bn", "conv-bn-relu"), "default": "conv"},
        "divisor": {"type": "choice", "of": ("teacher_channels", "student_channels"), "default": "teacher_channels"},
    }

    def build(self) -> None:
        """The projector of a feature tap, C_S to C_T channels."""
        tap = self.settings["tap"]
        if self.active_terms and tap != "logit":
            self.projector = build_projector(
                self.settings["projector"], self.student_channels.of(tap), self.teacher_channels.of(tap)
            )

    def needs(self) -> frozenset[str]:
        """The chosen tap of both."""
        tap = self.settings["tap"]
        return frozenset({LOGITS if tap == "logit" else tap}) if self.active_terms else frozenset()

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"cwd": scalar}."""
        if not self.active_terms:
            return {}
        tap, temperature = self.settings["tap"], self.settings["temperature"]
        if tap == "logit":
            assert student.logits is not None
            assert teacher.logits is not None
            return {"cwd": channel_divergence(student.logits, teacher.logits, temperature)}
        feature = student.features[tap]
        divergence = channel_divergence(self.projector(feature), teacher.features[tap], temperature)
        if self.settings["divisor"] == "student_channels":
            divergence = divergence * (self.teacher_channels.of(tap) / feature.shape[1])
        return {"cwd": divergence}


def channel_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 times the mean over B and C of KL(q^T || q^S) for two maps (B, C, h, w); q as in `CWD`.

    The published code takes log of a softmax, which is -inf where that underflows; log_softmax is equal and finite.
    """
    student_maps = in_loss_precision(student).flatten(2).flatten(0, 1) / temperature
    teacher_maps = in_loss_precision(teacher).flatten(2).flatten(0, 1) / temperature
    divergence = F.kl_div(F.log_softmax(student_maps, dim=1), F.softmax(teacher_maps, dim=1), reduction="sum")
    return divergence * temperature**2 / len(student_maps)
