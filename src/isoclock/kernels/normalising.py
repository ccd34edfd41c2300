"""Features of length 1 or deviation 1."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

LEAST_NORM, LEAST_DEVIATION = 1e-6, 1e-6


def unit_vectors(values: Tensor, *, dim: int) -> Tensor:
    """Vectors along `dim` over their lengths, one shorter than `LEAST_NORM` over that."""
    return F.normalize(values, dim=dim, eps=LEAST_NORM)


def standardised(feature: Tensor) -> Tensor:
    """(B, C, h, w) with every channel at mean 0 and deviation 1 over B, h, w; a channel that never changes is 0.

    The deviation is the unbiased one (of a single position: 0) plus `LEAST_DEVIATION`.
    """
    rows = feature.permute(1, 0, 2, 3).flatten(1)
    deviation = rows.std(dim=1, keepdim=True, correction=1 if rows.shape[1] > 1 else 0)
    rows = (rows - rows.mean(dim=1, keepdim=True)) / (deviation + LEAST_DEVIATION)
    return rows.unflatten(1, (feature.shape[0], *feature.shape[2:])).permute(1, 0, 2, 3)
