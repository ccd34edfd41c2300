"""Mean intersection over union.

The mean of TP / (TP + FP + FN) over the classes, 0..1, over the summed pixels of the whole set. A class that is in neither
truth nor prediction has no IoU and is left out of the mean, as in Cityscapes' own evaluation (cityscapesscripts,
`evalPixelLevelSemanticLabeling.getScoreAverage`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoclock.scoring.confusion import iou

TITLE = "mIoU"


def of(confusion: NDArray[Any]) -> float | None:
    """Mean IoU, 0..1; None if no class has an IoU."""
    scored = iou(confusion)
    return float(np.nanmean(scored)) if np.isfinite(scored).any() else None
