"""Logits as a matrix with a row for each pixel."""

from __future__ import annotations

from torch import Tensor

from isoclock.kernels.labels import labels_on_grid
from isoclock.kernels.precision import in_loss_precision
from isoclock.labels import IGNORE


def pixel_rows(logits: Tensor) -> Tensor:
    """(B, K, h, w) -> (B h w, K) in loss precision: published code copies the map into one row for each pixel."""
    rows = in_loss_precision(logits).permute(0, 2, 3, 1).contiguous()
    return rows.view(-1, logits.shape[1])


def labelled_rows(student: Tensor, teacher: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(student logits (n, K), teacher logits (n, K), labels (n,)) of the n labelled pixels of `target` (B, H, W)."""
    labels = labels_on_grid(target, (student.shape[-2], student.shape[-1]))
    kept = labels != IGNORE
    rows = [in_loss_precision(logits).permute(0, 2, 3, 1)[kept] for logits in (student, teacher)]
    return rows[0], rows[1], labels[kept]
