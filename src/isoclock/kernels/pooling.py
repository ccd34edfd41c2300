"""Averages of feature maps over their positions."""

from __future__ import annotations

from torch import Tensor

from isoclock.kernels.precision import in_loss_precision


def image_vectors(feature: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C): the average over positions, in loss precision."""
    return in_loss_precision(feature).mean((2, 3))
