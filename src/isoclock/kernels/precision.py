"""The precision in which losses are computed: float32, or float64 if the inputs are float64."""

from __future__ import annotations

import torch
from torch import Tensor


def in_loss_precision(values: Tensor) -> Tensor:
    """`values` in float32 if they are shorter (autocast makes bfloat16); float64 stays float64."""
    return values if values.dtype == torch.float64 else values.float()


def loss_dtype(values: Tensor) -> torch.dtype:
    """The dtype that `in_loss_precision` returns."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32
