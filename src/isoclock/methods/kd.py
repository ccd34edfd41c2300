"""Logit distillation pixel by pixel (Hinton et al. 2015, arXiv 1503.02531), the canonical baseline of the study."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from isoclock.kernels.labels import labels_on_grid
from isoclock.kernels.rows import pixel_rows
from isoclock.labels import IGNORE
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput


class KD(Method):
    """L = T^2 / (B N) sum over pixels of KL(p^T || p^S), p = softmax of logits / T over the K classes.

    Computed at the logits' own resolution (softmax and upsampling do not commute, so the resolution is part of the
    definition). As published it does not look at labels; `mask_ignored` leaves out pixels without one, and N is then
    the number of pixels left in the whole batch.
    """

    title = "logit KD"
    source = "Hinton et al. 2015, arXiv 1503.02531; winycg/CIRKD@2d8ad0f losses/kd.py"
    terms = ("kd",)
    published = {"kd": "weight 1, T 1 (CIRKD scripts, Cityscapes and ADE20K)"}
    params = {
        "temperature": {"type": "number", "above": 0, "default": 1.0},
        "mask_ignored": {"type": "flag", "default": False},
    }

    reads = {"kd": ("logits",)}
    cost = "reading both logit maps: 2 B K h w exponentials; as published, most time goes into copies of the maps"

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"kd": scalar}."""
        assert student.logits is not None
        assert teacher.logits is not None
        kept = None
        if self.settings["mask_ignored"]:
            size = (student.logits.shape[-2], student.logits.shape[-1])
            kept = labels_on_grid(batch.target, size) != IGNORE
        return {"kd": _divergence(student.logits, teacher.logits, self.settings["temperature"], kept)}


def _divergence(student: Tensor, teacher: Tensor, temperature: float, kept: Tensor | None) -> Tensor:
    student_rows, teacher_rows = pixel_rows(student) / temperature, pixel_rows(teacher) / temperature
    if kept is not None:
        student_rows, teacher_rows = student_rows[kept.flatten()], teacher_rows[kept.flatten()]
    divergence = F.kl_div(F.log_softmax(student_rows, dim=1), F.softmax(teacher_rows, dim=1), reduction="sum")
    return divergence * temperature**2 / max(1, len(student_rows))
