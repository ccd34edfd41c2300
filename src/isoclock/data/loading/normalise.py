"""Pixels become numbers that a network takes: on the device that trains, since bytes are a quarter as much to hand over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from isoclock.data.loading.colour import Colour, build_colour

_IN_CACHE = 1 << 20  # bytes: what a core keeps near while it goes over it more than once


def filled(memory: Tensor | None, source: Tensor, kind: torch.dtype) -> Tensor:
    """`source` as `kind`, in `memory` if that is of its shape, order and device, else in memory of its own.

    Fresh memory for a batch of large crops takes longer than filling it.
    """
    return _fitting(memory, source, kind).copy_(source)


def _fitting(memory: Tensor | None, source: Tensor, kind: torch.dtype) -> Tensor:
    if memory is None or (memory.shape, memory.stride(), memory.device) != (
        source.shape,
        source.stride(),
        source.device,
    ):
        return torch.empty_like(source, dtype=kind)
    return memory


class Normalise:
    """uint8 (B, 3, H, W) to float32 on the same device: (value - 255 mean) / (255 std), as albumentations.Normalize."""

    def __init__(self, colour: Colour) -> None:
        self._shift, self._factor = torch.from_numpy(colour.shift), torch.from_numpy(colour.factor)

    @classmethod
    def last_of(cls, transforms: Sequence[Mapping[str, Any]]) -> Normalise:
        """The Normalize in which a list of colour transforms ends. Raises ParamsError for a list that does not."""
        return cls(build_colour(transforms[-1:]))

    def __call__(self, pixels: Tensor, out: Tensor | None = None) -> Tensor:
        """A batch that lies in one piece, channels last or not; the result lies in the same order, in `out` if it fits."""
        out = _fitting(out, pixels, torch.float32)
        if self._shift.device != pixels.device:  # once: copying them with every batch would wait for the device
            self._shift, self._factor = self._shift.to(pixels.device), self._factor.to(pixels.device)
        shift, factor = self._shift, self._factor
        if pixels.is_contiguous():
            return out.copy_(pixels).sub_(shift.view(3, 1, 1)).mul_(factor.view(3, 1, 1))
        # Whole rows: a loop over three channels inside would be many times slower.
        batch, _, height, width = pixels.shape
        given, made = (image.permute(0, 2, 3, 1).view(batch * height, 3 * width) for image in (pixels, out))
        shift, factor = shift.repeat(width), factor.repeat(width)
        at_once = max(1, _IN_CACHE // (12 * width)) if pixels.device.type == "cpu" else len(made)
        for some_given, some_made in zip(given.split(at_once), made.split(at_once), strict=True):
            some_made.copy_(some_given).sub_(shift).mul_(factor)
        return out
