"""Decoupled knowledge distillation (Zhao et al., CVPR 2022, arXiv 2203.08679), pixel by pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.kernels.rows import labelled_rows
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput

PUBLISHED_OFFSET = 1000.0


class DKD(Method):
    """Plain KD, split into a pixel's label y and the other K - 1 classes.

    tckd = T^2 / N sum over pixels of KL((p_y^T, 1 - p_y^T) || (p_y^S, 1 - p_y^S)), p = softmax of logits / T,
    nckd = T^2 / N sum over pixels of KL(r^T || r^S), r = softmax of logits / T over the classes but y.

    KL(p^T || p^S) = tckd + (1 - p_y^T) nckd for a pixel: the second weighted as if the teacher were never sure. N are the
    labelled pixels of the batch on the logits' grid; without any both terms are 0. The published code leaves the label's
    class out by subtracting 1000 from its scaled logit, and so does this file. Of a mass p that underflows to 0 the published
    code takes the logarithm; here it is that of the smallest normal number.
    """

    title = "decoupled KD"
    source = (
        "Zhao et al. 2022, arXiv 2203.08679; open-mmlab/mmrazor@90c7af1 mmrazor/models/losses/decoupled_kd.py"
        " (of image-level logits; taken pixel by pixel here)"
    )
    terms = ("tckd", "nckd")
    published = {"tckd": "alpha 1, T 4 (mmrazor, CIFAR-100)", "nckd": "beta 8, T 4 (mmrazor, CIFAR-100)"}
    params = {"temperature": {"type": "number", "above": 0, "default": 4.0}}
    reads = {"tckd": ("logits",), "nckd": ("logits",)}
    cost = (
        "2 B K h w exponentials, two maps of gradients; as published three softmaxes, and masks as large as the logits"
    )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"tckd": scalar, "nckd": scalar}, as far as active."""
        assert student.logits is not None
        assert teacher.logits is not None
        temperature = self.settings["temperature"]
        student_rows, teacher_rows, label = labelled_rows(student.logits, teacher.logits, batch.target)
        student_rows, teacher_rows = student_rows / temperature, teacher_rows / temperature
        is_label = torch.zeros_like(student_rows).scatter_(1, label[:, None], 1).bool()
        scale = temperature**2 / max(1, len(label))
        terms = {}
        if "tckd" in self.active_terms:
            ours, theirs = _masses(student_rows, is_label), _masses(teacher_rows, is_label)
            ours = ours.clamp(min=torch.finfo(ours.dtype).tiny).log()
            terms["tckd"] = F.kl_div(ours, theirs, reduction="sum") * scale
        if "nckd" in self.active_terms:
            ours = F.log_softmax(student_rows - PUBLISHED_OFFSET * is_label, dim=1)
            theirs = F.softmax(teacher_rows - PUBLISHED_OFFSET * is_label, dim=1)
            terms["nckd"] = F.kl_div(ours, theirs, reduction="sum") * scale
        return terms


def _masses(rows: Tensor, is_label: Tensor) -> Tensor:
    """(n, 2): p_y and the sum of the other shares."""
    shares = F.softmax(rows, dim=1)
    return torch.cat([(shares * part).sum(dim=1, keepdim=True) for part in (is_label, ~is_label)], dim=1)
