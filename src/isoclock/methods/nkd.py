"""Normalised knowledge distillation (Yang et al., ICCV 2023, arXiv 2303.13005), pixel by pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.kernels.rows import labelled_rows
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput


class NKD(Method):
    """Cross entropies with the teacher, separately for a pixel's label y and for the other K - 1 classes.

    nkd_target = -1 / N sum over pixels of p_y^T log p_y^S, p = softmax of the logits (never tempered),
    nkd_nontarget = -T^2 / N sum over pixels and c != y of r_c^T log r_c^S, r = softmax of logits / T over the classes but y.

    The published gamma is the weight of `nkd_nontarget`. N are the labelled pixels of the batch on the logits' grid; without
    any both terms are 0. The terms keep the teacher's entropy, so they are not 0 where the two networks agree.
    """

    title = "normalised KD"
    source = (
        "Yang et al. 2023, arXiv 2303.13005; yzd-v/cls_KD@1e5d48f3 mmcls/models/dis_losses/nkd.py"
        " (of image-level logits; taken pixel by pixel here)"
    )
    terms = ("nkd_target", "nkd_nontarget")
    published = {"nkd_target": "weight 1 (cls_KD, ImageNet)", "nkd_nontarget": "gamma 1.5, T 1 (cls_KD, ImageNet)"}
    params = {"temperature": {"type": "number", "above": 0, "default": 1.0}}
    reads = {"nkd_target": ("logits",), "nkd_nontarget": ("logits",)}
    cost = (
        "2 B K h w exponentials (4 if T is not 1), two maps of gradients; as published two softmaxes, and copies"
        " by a mask"
    )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"nkd_target": scalar, "nkd_nontarget": scalar}, as far as active."""
        assert student.logits is not None
        assert teacher.logits is not None
        student_rows, teacher_rows, label = labelled_rows(student.logits, teacher.logits, batch.target)
        temperature, pixels = self.settings["temperature"], max(1, len(label))
        terms = {}
        if "nkd_target" in self.active_terms:
            log_share = F.log_softmax(student_rows, dim=1).gather(1, label[:, None])
            expected = F.softmax(teacher_rows, dim=1).gather(1, label[:, None])
            terms["nkd_target"] = -(expected * log_share).sum() / pixels
        if "nkd_nontarget" in self.active_terms:
            others = torch.ones_like(student_rows, dtype=torch.bool).scatter_(1, label[:, None], False)
            student_others, teacher_others = (
                rows[others].view(len(rows), rows.shape[1] - 1) / temperature for rows in (student_rows, teacher_rows)
            )
            entropies = F.softmax(teacher_others, dim=1) * F.log_softmax(student_others, dim=1)
            terms["nkd_nontarget"] = -entropies.sum() * temperature**2 / pixels
        return terms
