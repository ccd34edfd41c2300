"""Confusion matrices over train ids, and the intersection over union computed from them.

Matrices are (K, K): rows are the truth, columns the prediction. The definition of IoU is the one of Cityscapes' own
evaluation (cityscapesscripts, `evalPixelLevelSemanticLabeling.getIouScoreForLabel` and `getScoreAverage`): pixels whose
truth is ignored count nowhere, `IoU = TP / (TP + FP + FN)` over the summed pixels of the whole set (not averaged over
images), and a class with an empty denominator (absent in truth *and* prediction) has no IoU and is left out of the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoclock.labels import IGNORE

if TYPE_CHECKING:
    import torch

_LABEL_VALUES = 256
_PIXELS_AT_ONCE = 1 << 24
"""OpenCV returns counts as float32, which is exact up to this number."""


def confusion_matrix(truth: NDArray[Any], prediction: NDArray[Any], num_classes: int) -> NDArray[np.int64]:
    """Confusion matrix (K, K) int64 of two label maps of one shape.

    The truth is 0..K-1 or 255 = ignore, the prediction lies in 0..K-1; maps of another type than uint8 are converted
    first. Gives the same counts as `reference_confusion_matrix` in about a third of its time.

    Raises ValueError for unequal shapes, a truth that is neither a class nor 255, or a prediction that is not a class.
    """
    import cv2

    _check_classes(num_classes)
    _check_shapes(truth, prediction)
    truth, prediction = _narrow(truth, "truth").reshape(1, -1), _narrow(prediction, "prediction").reshape(1, -1)
    counted = np.zeros(_LABEL_VALUES * num_classes, np.int64)
    for first in range(0, truth.size, _PIXELS_AT_ONCE):
        part = np.s_[:, first : first + _PIXELS_AT_ONCE]
        # Two adjacent bytes are one number of 16 bits, truth + 256 * prediction, and a histogram of it counts pairs. It has
        # bins for all 256 label values, so that no pass over the pixels is needed to find the ignored ones.
        pairs = cv2.merge([truth[part], prediction[part]]).view("<u2")[..., 0]
        counted += cv2.calcHist([pairs], [0], None, [counted.size], [0, counted.size]).ravel().astype(np.int64)
    if (missed := truth.size - int(counted.sum())) > 0:  # they lie beyond the last bin
        raise ValueError(f"{missed} pixels of the prediction are not a class 0..{num_classes - 1}")
    return _checked(counted.reshape(num_classes, _LABEL_VALUES).T, num_classes)


def reference_confusion_matrix(truth: NDArray[Any], prediction: NDArray[Any], num_classes: int) -> NDArray[np.int64]:
    """The same as `confusion_matrix`, in plain numpy: one count per pair of values, by `np.bincount`."""
    _check_classes(num_classes)
    _check_shapes(truth, prediction)
    if truth.size and (prediction.min() < 0 or prediction.max() >= num_classes):
        raise ValueError(
            f"prediction has values {prediction.min()}..{prediction.max()}, outside the classes 0..{num_classes - 1}"
        )
    pairs = _narrow(truth, "truth").ravel() * np.intp(num_classes) + prediction.ravel()
    rows = np.bincount(pairs, minlength=_LABEL_VALUES * num_classes).reshape(_LABEL_VALUES, num_classes)
    return _checked(rows, num_classes)


def label_counts(truth: torch.Tensor, prediction: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Counts of each pair of label value and class: (K + 1, K) int64 on the maps' device, without a synchronisation.

    `truth` is uint8, `prediction` integer in 0..K-1 (not checked, since a check would synchronise). Row k < K counts the
    pixels of class k, row K those that are neither a class nor 255; ignored pixels are not counted.
    """
    import torch

    _check_classes(num_classes)
    _check_shapes(truth, prediction)
    pairs = truth.reshape(-1).long() * num_classes + prediction.reshape(-1)
    # Not torch.bincount, which reads the largest value from the device.
    rows = torch.zeros(_LABEL_VALUES * num_classes, dtype=torch.int64, device=truth.device)
    rows = rows.scatter_add_(0, pairs, torch.ones_like(pairs)).reshape(_LABEL_VALUES, num_classes)
    return torch.cat([rows[:num_classes], rows[num_classes:IGNORE].sum(dim=0, keepdim=True)])


def checked_counts(counts: NDArray[Any], num_classes: int) -> NDArray[np.int64]:
    """The confusion matrix (K, K) of `label_counts`. Raises ValueError for a truth that is neither a class nor 255."""
    _check_strays(int(counts[num_classes:].sum()), num_classes)
    return counts[:num_classes].astype(np.int64)


def iou(total: NDArray[Any]) -> NDArray[np.float64]:
    """IoU of each class, 0..1, NaN where a class is in neither truth nor prediction; (..., K, K) -> (..., K)."""
    hits = np.diagonal(total, axis1=-2, axis2=-1).astype(np.float64)
    union = total.sum(axis=-1, dtype=np.float64) + total.sum(axis=-2, dtype=np.float64) - hits
    return iou_of_counts(hits, union)


def iou_of_counts(hits: NDArray[np.float64], union: NDArray[np.float64]) -> NDArray[np.float64]:
    """`hits / union` elementwise, NaN where the union is empty."""
    return np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)


def _check_classes(num_classes: int) -> None:
    if not 1 <= num_classes <= IGNORE:
        raise ValueError(f"num_classes {num_classes} is not in 1..{IGNORE}")


def _check_shapes(truth: NDArray[Any] | torch.Tensor, prediction: NDArray[Any] | torch.Tensor) -> None:
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {tuple(truth.shape)}, prediction {tuple(prediction.shape)}")


def _narrow(labels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if labels.dtype != np.uint8 and labels.size and (labels.min() < 0 or labels.max() > IGNORE):
        raise ValueError(f"{name} has values {labels.min()}..{labels.max()}, outside 0..{IGNORE}")
    return np.ascontiguousarray(labels, np.uint8)


def _checked(rows: NDArray[Any], num_classes: int) -> NDArray[np.int64]:
    _check_strays(int(rows[num_classes:IGNORE].sum()), num_classes)
    return np.ascontiguousarray(rows[:num_classes], np.int64)


def _check_strays(pixels: int, num_classes: int) -> None:
    if pixels:
        raise ValueError(f"{pixels} pixels of the truth are neither a class 0..{num_classes - 1} nor {IGNORE}")
