"""Confusion matrices over train ids, and the intersection over union that is read off them.

Matrices are (K, K): rows are the truth, columns the prediction. The definition of IoU is the one of Cityscapes' own
evaluation (cityscapesscripts, `evalPixelLevelSemanticLabeling.getIouScoreForLabel` and `getScoreAverage`): pixels whose
truth is ignored count nowhere, `IoU = TP / (TP + FP + FN)` over the summed pixels of the whole set (not averaged over
images), and a class with an empty denominator (absent in truth *and* prediction) has no IoU and stays out of the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

IGNORE = 255
"""The train id of pixels that are not scored."""

_LABEL_VALUES = 256


def confusion_matrix(truth: NDArray[Any], prediction: NDArray[Any], num_classes: int) -> NDArray[np.int64]:
    """Confusion matrix (K, K) int64 of two label maps of one shape.

    The truth is uint8 with 255 = ignore, the prediction lies in 0..K-1.

    Raises ValueError for unequal shapes, a truth that is neither a class nor 255, or a prediction that is no class.
    """
    _check_classes(num_classes)
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}")
    if truth.size and (prediction.min() < 0 or prediction.max() >= num_classes):
        raise ValueError(f"prediction {prediction.min()}..{prediction.max()} leaves the classes 0..{num_classes - 1}")
    if truth.size and (truth.min() < 0 or truth.max() > IGNORE):
        raise ValueError(f"truth {truth.min()}..{truth.max()} leaves 0..255")
    # Every one of the 256 label values gets a row, the ignored one too: a mask over the pixels costs more than rows.
    # 255 * 255 + 254 still fits into 16 bits, so the index is built in a narrow type.
    pairs = truth.astype(np.uint16).ravel() * np.uint16(num_classes) + prediction.astype(np.uint16).ravel()
    rows = np.bincount(pairs, minlength=_LABEL_VALUES * num_classes).reshape(_LABEL_VALUES, num_classes)
    _check_strays(int(rows[num_classes:IGNORE].sum()), num_classes)
    return rows[:num_classes].astype(np.int64)


def confusion_matrix_torch(truth: torch.Tensor, prediction: torch.Tensor, num_classes: int) -> torch.Tensor:
    """`confusion_matrix` for integer tensors of one shape on one device; returns (K, K) int64 on that device."""
    import torch

    _check_classes(num_classes)
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {tuple(truth.shape)}, prediction {tuple(prediction.shape)}")
    if truth.numel() and bool(((prediction < 0) | (prediction >= num_classes)).any()):
        raise ValueError(f"a prediction leaves the classes 0..{num_classes - 1}")
    pairs = truth.reshape(-1).to(torch.int32) * num_classes + prediction.reshape(-1).to(torch.int32)
    rows = torch.bincount(pairs, minlength=_LABEL_VALUES * num_classes).reshape(_LABEL_VALUES, num_classes)
    _check_strays(int(rows[num_classes:IGNORE].sum()), num_classes)
    return rows[:num_classes]


def iou(total: NDArray[Any]) -> NDArray[np.float64]:
    """IoU of each class, 0..1, NaN where a class is in neither truth nor prediction; (..., K, K) -> (..., K)."""
    hits = np.diagonal(total, axis1=-2, axis2=-1).astype(np.float64)
    union = total.sum(axis=-1, dtype=np.float64) + total.sum(axis=-2, dtype=np.float64) - hits
    return iou_of_counts(hits, union)


def iou_of_counts(hits: NDArray[np.float64], union: NDArray[np.float64]) -> NDArray[np.float64]:
    """`hits / union` elementwise, NaN where the union is empty."""
    return np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)


def mean_iou(total: NDArray[Any]) -> float | None:
    """Mean of the classes' IoU, 0..1; classes without an IoU stay out. None if no class has one."""
    scored = iou(total)
    return float(np.nanmean(scored)) if np.isfinite(scored).any() else None


def pixel_accuracy(total: NDArray[Any]) -> float | None:
    """Share of scored pixels that are right, 0..1. None if no pixel is scored."""
    pixels = int(total.sum(dtype=np.int64))
    return int(np.trace(total)) / pixels if pixels else None


def _check_classes(num_classes: int) -> None:
    if not 1 <= num_classes <= IGNORE:
        raise ValueError(f"num_classes {num_classes} is not in 1..{IGNORE}")


def _check_strays(pixels: int, num_classes: int) -> None:
    if pixels:
        raise ValueError(f"{pixels} pixels of the truth are neither a class 0..{num_classes - 1} nor {IGNORE}")
