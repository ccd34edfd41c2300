"""Logit standardisation (Sun et al., CVPR 2024, arXiv 2403.01427), pixel by pixel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from isoclock.kernels.rows import pixel_rows
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput

LEAST_DEVIATION = 1e-7


class LogitStd(Method):
    """L = T^2 / (B N) sum over pixels of KL(p^T || p^S), p = softmax of Z(logits) / T over the K classes.

    Z(z) = (z - mean of z) / (deviation of z + 1e-7), over a pixel's K logits, the deviation with divisor K - 1: plain KD
    of logits whose size does not count. The gradient goes through the student's mean and deviation. It does not look at
    labels.
    """

    title = "KD of standardised logits"
    source = (
        "Sun et al. 2024, arXiv 2403.01427; sunshangquan/logit-standardization-KD@f6e5aa5 mdistiller/distillers/KD.py"
        " (of image-level logits; taken pixel by pixel here)"
    )
    terms = ("logit_std",)
    published = {"logit_std": "weight 9, T 2, next to cross-entropy of weight 0.1 (CIFAR-100; none for segmentation)"}
    params = {"temperature": {"type": "number", "above": 0, "default": 2.0}}
    reads = {"logit_std": ("logits",)}
    cost = "2 B K h w exponentials, as `kd`, and four more passes over both logit maps"

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"logit_std": scalar}."""
        assert student.logits is not None
        assert teacher.logits is not None
        temperature = self.settings["temperature"]
        ours, theirs = (_standardised(pixel_rows(one)) / temperature for one in (student.logits, teacher.logits))
        divergence = F.kl_div(F.log_softmax(ours, dim=1), F.softmax(theirs, dim=1), reduction="none").sum(dim=1).mean()
        return {"logit_std": divergence * temperature**2}


def _standardised(rows: Tensor) -> Tensor:
    """(n, K) rows of mean 0 and deviation 1. The deviation of a row of equal values is 0, and so is its derivative."""
    return (rows - rows.mean(dim=1, keepdim=True)) / (rows.std(dim=1, keepdim=True) + LEAST_DEVIATION)
