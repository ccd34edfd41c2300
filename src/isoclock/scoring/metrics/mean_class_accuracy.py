"""Mean class accuracy: the mean of TP / (TP + FN) over the classes, 0..1. Classes without a pixel in the truth are left out.

"Mean accuracy" of Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, section 5;
`mAcc` of mmsegmentation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TITLE = "mean class accuracy"


def of(confusion: NDArray[Any]) -> float | None:
    """Mean accuracy of the classes, 0..1; None if the truth has no scored pixel."""
    pixels = confusion.sum(axis=1, dtype=np.int64)
    present = pixels > 0
    return float((np.diagonal(confusion)[present] / pixels[present]).mean()) if present.any() else None
