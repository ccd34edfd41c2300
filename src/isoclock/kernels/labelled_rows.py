"""Logits of the labelled pixels."""

from __future__ import annotations

from torch import Tensor

from isoclock.kernels.labels import labels_on_grid
from isoclock.kernels.precision import in_loss_precision
from isoclock.labels import IGNORE


def labelled_rows(student: Tensor, teacher: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(student logits (n, K), teacher logits (n, K), labels (n,)) of the n labelled pixels of `target` (B, H, W)."""
    labels = labels_on_grid(target, (student.shape[-2], student.shape[-1]))
    kept = labels != IGNORE
    rows = [in_loss_precision(logits).permute(0, 2, 3, 1)[kept] for logits in (student, teacher)]
    return rows[0], rows[1], labels[kept]
