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


def product_dtype(values: Tensor) -> torch.dtype:
    """The dtype of a loss's matrix products and convolutions: that of autocast where it is on, else `loss_dtype`."""
    device = values.device.type
    if values.dtype != torch.float64 and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return loss_dtype(values)
