"""Labels on the grid of the feature maps."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def labels_on_grid(target: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest labels of `target` (B, H, W) on a grid of `size`: (B, h, w) int64; every k-th one if H = k h, W = k w."""
    rows, columns = target.shape[-2] // size[0], target.shape[-1] // size[1]
    if target.shape[-2:] == (rows * size[0], columns * size[1]):  # the same labels, without a copy at full resolution
        return target[:, ::rows, ::columns].long()
    return F.interpolate(target[:, None].float(), size=size, mode="nearest")[:, 0].long()
