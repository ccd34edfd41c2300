"""Pixel accuracy: the share of scored pixels whose class is predicted, sum(TP) / pixels, 0..1.

"Pixel accuracy" of Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, section 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TITLE = "pixel accuracy"


def of(confusion: NDArray[Any]) -> float | None:
    """Share of correct pixels, 0..1; None if no pixel is scored."""
    pixels = int(confusion.sum(dtype=np.int64))
    return int(np.trace(confusion)) / pixels if pixels else None
