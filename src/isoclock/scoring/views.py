"""The views of an image that are scored: whole or through windows, at one scale or several, also mirrored.

A view costs a forward pass per window and keeps logits at the network's stride. They are enlarged to the label's pixels class
by class, so that no (K, H, W) map is held: for 150 classes at 2048x1024 it would take 1.2 GiB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import cv2
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from isoclock.params.schema import Scoring

Size = tuple[int, int]
Forward = Callable[[Tensor], Tensor]

_FLOATS_AT_ONCE = 1 << 24
"""Enlarged logits held at a time on an accelerator (64 MiB); a CPU goes class by class, within its caches."""


@dataclass(frozen=True)
class View:
    """Logits (1, K, h, w) float32 of windows of an image of `size` pixels; `boxes` are their (top, left, height, width)."""

    size: Size
    boxes: Sequence[tuple[int, int, int, int]]
    logits: Sequence[Tensor]
    mirrored: bool

    def maps(self, first: int, last: int, size: Size) -> Tensor:
        """Logits of classes first..last-1 on `size` pixels: (last - first, H, W), bilinear (align_corners=False).

        Logits are averaged where windows overlap. A single window is enlarged to `size` directly, several to their
        place in the image first.
        """
        if len(self.boxes) == 1:
            found = enlarged(self.logits[0][0, first:last], size)
        else:
            found = self.logits[0].new_zeros(last - first, *self.size)
            covered = found.new_zeros(self.size)
            for (top, left, height, width), logits in zip(self.boxes, self.logits, strict=True):
                place = slice(top, top + height), slice(left, left + width)
                found[:, *place] += enlarged(logits[0, first:last], (height, width))
                covered[place] += 1
            found = enlarged(found.div_(covered), size)
        return found.flip(-1) if self.mirrored else found


def look(forward: Forward, image: Tensor, scoring: Scoring) -> list[View]:
    """Every view of an image (1, 3, H, W) that `scoring` asks for; `forward` gives logits (1, K, h, w)."""
    found = []
    for size in view_sizes((image.shape[-2], image.shape[-1]), scoring):
        scaled = image
        if size != tuple(image.shape[-2:]):
            # Normalising is linear: resizing before it would give the same image, except for rounding to uint8.
            scaled = functional.interpolate(image, size, mode="bilinear", align_corners=False)
        boxes = boxes_of(size, scoring)
        for mirrored in (False, True) if scoring.flip else (False,):
            seen = scaled.flip(-1) if mirrored else scaled
            logits = [
                forward(seen[..., top : top + height, left : left + width]).float().contiguous()
                for top, left, height, width in boxes
            ]
            found.append(View(size, boxes, logits, mirrored))
    return found


def view_sizes(size: Size, scoring: Scoring) -> list[Size]:
    """Sizes of the views of an image of `size` (height, width), one per scale, in the order of `scales`."""
    height, width = size
    base = 1.0
    if scoring.short_side is not None:
        base = scoring.short_side / min(size)
        if scoring.long_side_at_most is not None:
            base = min(base, scoring.long_side_at_most / max(size))
    factors = [base * scale for scale in scoring.scales]
    return [(max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))) for factor in factors]


def boxes_of(size: Size, scoring: Scoring) -> list[tuple[int, int, int, int]]:
    """Boxes (top, left, height, width) of the forward passes over one view of `size`."""
    return windows(size, scoring.window or size, scoring.stride or scoring.window or size)


def windows(size: Size, window: Size, stride: Size) -> list[tuple[int, int, int, int]]:
    """Boxes (top, left, height, width) that cover `size`, row by row; the last ones are moved back inside the image."""
    rows, columns = (_steps(*axis) for axis in zip(size, window, stride, strict=True))
    return [(top, left, height, width) for top, height in rows for left, width in columns]


def label_map(views: Sequence[View], size: Size) -> Tensor:
    """Class of every pixel, uint8 (H, W), from one view or more; ties go to the lower class.

    One view is decided by its logits, several by the mean of their softmax.
    """
    classes = views[0].logits[0].shape[1]
    alone = views[0] if len(views) == 1 else None
    norms = [] if alone else [_softmax_norm(view, classes, size) for view in views]
    best: Tensor | None = None
    winner = torch.empty(0)
    for first, last in _chunks(views[0].logits[0], classes, size):
        if alone is not None:
            part = alone.maps(first, last, size)
        else:
            # A sum instead of the mean: the order of classes is the same.
            parts = (
                view.maps(first, last, size).sub_(peak).exp_().div_(total)
                for view, (peak, total) in zip(views, norms, strict=True)
            )
            part = reduce(Tensor.add_, parts)
        value, index = (part[0], None) if last == first + 1 else part.max(dim=0)
        if best is None:
            best = value
            winner = torch.zeros(size, dtype=torch.uint8, device=value.device)
            if index is not None:
                winner.copy_(index)
            continue
        higher = value > best
        if index is None:
            # Classes come in ascending order, so the maximum keeps the earlier class wherever the mask is 0.
            torch.maximum(winner, higher.view(torch.uint8).mul_(first), out=winner)
        else:
            winner = torch.where(higher, (index + first).to(torch.uint8), winner)
        torch.maximum(best, value, out=best)
    return winner


def enlarged(planes: Tensor, size: Size) -> Tensor:
    """Planes (k, h, w) float32, resized bilinearly (align_corners=False) to (k, H, W)."""
    if tuple(planes.shape[1:]) == size:
        return planes.clone()
    if not _by_plane(planes):
        return functional.interpolate(planes[None], size, mode="bilinear", align_corners=False)[0]
    # The same weights as torch's and a few times faster; results differ in the last bits.
    found = torch.empty(len(planes), *size)
    for plane, target in zip(planes.contiguous().numpy(), found.numpy(), strict=True):
        cv2.resize(plane, size[::-1], dst=target, interpolation=cv2.INTER_LINEAR)
    return found


def _softmax_norm(view: View, classes: int, size: Size) -> tuple[Tensor, Tensor]:
    """The largest logit of every pixel, and the sum of exp(logit - largest): (H, W) each."""
    parts = list(_chunks(view.logits[0], classes, size))
    peak = view.maps(*parts[0], size).amax(dim=0)
    for part in parts[1:]:
        torch.maximum(peak, view.maps(*part, size).amax(dim=0), out=peak)
    total = torch.zeros_like(peak)
    for part in parts:
        total += view.maps(*part, size).sub_(peak).exp_().sum(dim=0)
    return peak, total


def _chunks(logits: Tensor, classes: int, size: Size) -> Iterator[tuple[int, int]]:
    chunk = 1 if _by_plane(logits) else max(1, _FLOATS_AT_ONCE // (size[0] * size[1]))
    return ((first, min(classes, first + chunk)) for first in range(0, classes, chunk))


def _by_plane(logits: Tensor) -> bool:
    return logits.device.type == "cpu"


def _steps(length: int, window: int, stride: int) -> list[tuple[int, int]]:
    """(first pixel, pixels) of the windows along one axis, the way mmsegmentation's `slide_inference` places them."""
    window = min(window, length)
    count = -(-(length - window) // stride) + 1
    return [(min(number * stride, length - window), window) for number in range(count)]
