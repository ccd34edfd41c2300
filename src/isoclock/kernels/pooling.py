"""Averages of feature maps over their positions."""

from __future__ import annotations

import torch
from torch import Tensor

from isoclock.kernels.precision import in_loss_precision


def image_vectors(feature: Tensor, *, tuned: bool = False) -> Tensor:
    """(B, C, h, w) -> (B, C): the average over positions, in loss precision.

    Tuned sums without a float32 copy of a bfloat16 map, and divides the C sums instead of the map's whole gradient,
    which then stays an expanded view.
    """
    if not tuned:
        return in_loss_precision(feature).mean((2, 3))
    accurate = torch.float64 if feature.dtype == torch.float64 else torch.float32
    return feature.sum((2, 3), dtype=accurate) / (feature.shape[2] * feature.shape[3])
