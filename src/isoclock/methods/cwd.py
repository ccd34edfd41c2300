"""Channel-wise distillation (Shu et al., ICCV 2021, arXiv 2011.13256): where each channel looks, as a distribution."""

from __future__ import annotations

from torch import Tensor

from isoclock.kernels.channel_divergence import channel_divergence
from isoclock.kernels.projector import build_projector
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput


class CWD(Method):
    """L = T^2 / (B C) sum over b, c of KL(q^T || q^S), q = softmax of x / T over a channel's h w positions.

    tap "logit": x are the logits, C = K. tap "head" or "backbone": x are features, the student's through a trainable
    1x1 projector, and C is the teacher's channel count. `divisor: student_channels` divides by the channels of the
    *unprojected* student instead, as CIRKD and mmseg-distiller do: the term is then C_T / C_S times larger. `form` is the
    code whose operations are used: mmrazor's take other time for the same numbers.
    """

    title = "channel-wise distillation"
    source = (
        "Shu et al. 2021, arXiv 2011.13256; irfanICMLL/TorchDistiller@78bac7c"
        " SemSeg-distill/utils/criterion.py (logit); winycg/CIRKD@2d8ad0f losses/cwd.py (feature);"
        " open-mmlab/mmrazor@90c7af1 mmrazor/models/losses/cwd.py (`form: mmrazor`)"
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
        "form": {"type": "choice", "of": ("torchdistiller", "mmrazor"), "default": "torchdistiller"},
    }

    reads = {"cwd": ("{tap}",)}
    cost = (
        "2 B C h w exponentials: negligible for logits, a 268 MB map for 512 channels of 8 crops of 512x1024,"
        " compared with the projector's 4.3 GMAC"
    )

    def build(self) -> None:
        """The projector of a feature tap, C_S to C_T channels."""
        tap = self.settings["tap"]
        if tap != "logit":
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
        """{"cwd": scalar}."""
        tap, temperature, form = (self.settings[key] for key in ("tap", "temperature", "form"))
        if tap == "logit":
            assert student.logits is not None
            assert teacher.logits is not None
            return {"cwd": channel_divergence(student.logits, teacher.logits, temperature, form)}
        feature = student.features[tap]
        divergence = channel_divergence(self.projector(feature), teacher.features[tap], temperature, form)
        if self.settings["divisor"] == "student_channels":
            divergence = divergence * (self.teacher_channels.of(tap) / feature.shape[1])
        return {"cwd": divergence}
