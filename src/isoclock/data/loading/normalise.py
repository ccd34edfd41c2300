"""Normalisation of pixels on the training device: transferring uint8 takes a quarter of the memory of float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from isoclock.data.loading.colour import Colour, build_colour

_IN_CACHE = 1 << 20  # bytes that stay in a core's cache while they are processed several times


def filled(memory: Tensor | None, source: Tensor, kind: torch.dtype) -> Tensor:
    """`source` converted to `kind`, in `memory` if that has the same shape, strides and device, else in a new tensor.

    Allocating memory for a batch of large crops takes longer than filling it.
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
        """The Normalize at the end of a list of colour transforms. Raises ParamsError if the list does not end in one."""
        return cls(build_colour(transforms[-1:]))

    def __call__(self, pixels: Tensor, out: Tensor | None = None) -> Tensor:
        """Normalise a contiguous batch, channels last or not. The result has the same strides, and is in `out` if it fits."""
        out = _fitting(out, pixels, torch.float32)
        if self._shift.device != pixels.device:  # once: copying them for every batch would synchronise with the device
            self._shift, self._factor = self._shift.to(pixels.device), self._factor.to(pixels.device)
        shift, factor = self._shift, self._factor
        if pixels.is_contiguous():
            return out.copy_(pixels).sub_(shift.view(3, 1, 1)).mul_(factor.view(3, 1, 1))
        # Whole rows: an inner loop over three channels is many times slower.
        batch, _, height, width = pixels.shape
        given, made = (image.permute(0, 2, 3, 1).view(batch * height, 3 * width) for image in (pixels, out))
        shift, factor = shift.repeat(width), factor.repeat(width)
        at_once = max(1, _IN_CACHE // (12 * width)) if pixels.device.type == "cpu" else len(made)
        for some_given, some_made in zip(given.split(at_once), made.split(at_once), strict=True):
            some_made.copy_(some_given).sub_(shift).mul_(factor)
        return out
