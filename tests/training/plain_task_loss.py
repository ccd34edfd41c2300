"""The task loss by torch's own functions, which hold the upsampled map: what the one by strips is compared with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def plain_task_loss(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over labelled pixels of target (B, H, W), weighted by class; 0 where none is labelled."""
    scores = logits if logits.dtype == torch.float64 else logits.float()
    scores = F.interpolate(scores, size=target.shape[-2:], mode="bilinear", align_corners=False)
    weights = None if weights is None else weights.to(scores.dtype)
    summed = F.cross_entropy(scores, target, weight=weights, ignore_index=255, reduction="sum")
    table = pixel_weights(logits.shape[1], weights, scores.dtype)
    return summed / table[target].sum().clamp(min=torch.finfo(scores.dtype).tiny)


def pixel_weights(classes: int, weights: Tensor | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weight of a pixel by its label, (256,); 0 for what is no class."""
    table = torch.zeros(256, dtype=dtype)
    table[:classes] = 1.0 if weights is None else weights.to(dtype)
    return table
