"""Terms that relate images: published for the images of one device, computed here for groups of a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def mean_over_groups(term: Callable[..., Tensor], size: int, *maps: Tensor) -> Tensor:
    """The mean of `term(*maps)` over groups of `size` consecutive rows of `maps` (B, ...), in which each row counts alike.

    It is what several devices with `size` images each compute together. The last group has the rest. A `size` of 0, or of
    the whole batch, is one call.
    """
    rows = len(maps[0])
    if not 0 < size < rows:
        return term(*maps)
    groups = list(zip(*(one.split(size) for one in maps), strict=True))
    return torch.stack([term(*group) * (len(group[0]) / rows) for group in groups]).sum(0)
