"""The rings of teacher features that the memory terms of CIRKD compare with, and two ways to push to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.labels import IGNORE

KEY_BITS = 40
"""Random keys are below 2^KEY_BITS, so that a class id fits above them in an int64."""


class Ring(NamedTuple):
    """queue: (K, size, C) unit vectors; ptr: (K,) int64, where each class writes next. Both are changed in place."""

    queue: Tensor
    ptr: Tensor


class Pushes(NamedTuple):
    """What a batch pushes to the rings.

    feature: (B, C, h, w) of the teacher, not normalised. labels: (B, N) on its grid. keys: (B, N) int64 below
    2^KEY_BITS: the order in which pixels of a class are selected, or None without a pixel ring. pixel_update: how many at
    most, for each image and class. published_sampling: see `CIRKD`.
    """

    feature: Tensor
    labels: Tensor
    keys: Tensor | None
    pixel_update: int
    published_sampling: bool


@torch.no_grad()
def enqueue_by_loops(pushes: Pushes, rings: Mapping[str, Ring]) -> None:
    """Push to the rings "pixel" and "region", image by image and class by class, as published, with many device syncs."""
    pixel, region = rings.get("pixel"), rings.get("region")
    feature = F.normalize(pushes.feature, dim=1)
    for b, labels in enumerate(pushes.labels):
        rows = feature[b].flatten(1)
        for label in torch.unique(labels):
            if label == IGNORE:
                continue
            c = int(label)
            of_class = (labels == label).nonzero().flatten()
            if region is not None:
                mean = rows[:, of_class].mean(dim=1, keepdim=True)
                _push(region, c, F.normalize(mean, dim=0).t())
            if pixel is not None and pushes.keys is not None:
                order = torch.argsort(pushes.keys[b, of_class], stable=True)
                order = order[: min(pushes.pixel_update, pixel.queue.shape[1])]
                taken = order if pushes.published_sampling else of_class[order]
                _push(pixel, c, F.normalize(rows[:, taken].t(), dim=1))


def _push(ring: Ring, c: int, vectors: Tensor) -> None:
    size, start = ring.queue.shape[1], int(ring.ptr[c])
    if start + len(vectors) >= size:
        ring.queue[c, -len(vectors) :] = vectors
        ring.ptr[c] = 0
    else:
        ring.queue[c, start : start + len(vectors)] = vectors
        ring.ptr[c] += len(vectors)


@torch.no_grad()
def enqueue_at_once(pushes: Pushes, rings: Mapping[str, Ring]) -> None:
    """The same for all images and classes together: sorted keys, one-hot matrix product, writes at computed slots."""
    pixel, region = rings.get("pixel"), rings.get("region")
    rows = pushes.feature.flatten(2).transpose(1, 2)  # (B, N, C), a view
    scale = 1 / torch.linalg.vector_norm(rows, dim=2).clamp_min(1e-12)  # (B, N)
    ids = torch.arange(len(next(iter(rings.values())).queue), device=rows.device)
    members = pushes.labels[:, None, :] == ids[:, None]  # (B, K, N)
    counts = members.sum(2)  # (B, K)
    if region is not None:
        with torch.autocast(rows.device.type, enabled=False):
            sums = torch.bmm(members.to(rows.dtype).mul_(scale[:, None]), rows)  # (B, K, C)
        means = F.normalize(sums / counts.clamp_min(1)[..., None], dim=2)
        _write(region, counts.clamp_max(1), 1, lambda b, c, _: means[b, c])
    if pixel is not None and pushes.keys is not None:
        most = min(pushes.pixel_update, pixel.queue.shape[1], rows.shape[1])
        taken = _taken(pushes, counts, most)
        _write(
            pixel,
            counts.clamp_max(most),
            most,
            lambda b, c, i: rows[b, taken[b, c, i]] * scale[b, taken[b, c, i]][..., None],
        )


def _taken(pushes: Pushes, counts: Tensor, most: int) -> Tensor:
    """(B, K, most) int64: the first pixels of each class in the order of their keys; arbitrary past a class' count."""
    assert pushes.keys is not None
    first = counts.cumsum(1) - counts  # (B, K): where a class begins among pixels sorted by class
    above = torch.where(pushes.labels == IGNORE, counts.shape[1], pushes.labels)
    order = torch.argsort((above << KEY_BITS) + pushes.keys, dim=1, stable=True)
    if pushes.published_sampling:  # the pixel's number within its class, in raster order, instead of the pixel
        raster = torch.argsort(above, dim=1, stable=True)
        places = torch.arange(order.shape[1], device=order.device).expand_as(order)
        place = torch.empty_like(order).scatter_(1, raster, places)  # of each pixel, sorted by class
        order = place.gather(1, order) - F.pad(first, (0, 1)).gather(1, above.gather(1, order))
    wanted = first[..., None] + torch.arange(most, device=order.device)
    return order.gather(1, wanted.clamp_max(order.shape[1] - 1).flatten(1)).view(wanted.shape)


def _write(ring: Ring, counts: Tensor, most: int, vectors: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Push `counts` (B, K) vectors, at most `most`; `vectors(b, c, i)` gives the i-th of image b and class c.

    Several images may write to one slot, and the last of them must win in any order in which a device writes. Every
    writer therefore writes the winner's vector, and those with nothing to write (i beyond the count) the slot's old one.
    """
    size, device = ring.queue.shape[1], counts.device
    counts = counts.t()
    starts = _starts(ring, counts)
    within = torch.arange(most, device=device).minimum((counts - 1).clamp_min(0)[..., None])
    slots = starts[..., None] + within  # (K, B, most)
    inside = slots[..., None] - starts[:, None, None, :]  # (K, B, most, B): which of each image's vectors falls there
    images = torch.arange(counts.shape[1], device=device)
    winner = torch.where((inside >= 0) & (inside < counts[:, None, None, :]), images, -1).amax(3)
    c = torch.arange(len(counts), device=device)[:, None, None].expand_as(slots)
    b = winner.clamp_min(0)
    i = inside.gather(3, b[..., None])[..., 0].clamp(0, most - 1)
    place = (c * size + slots).flatten()
    queue = ring.queue.flatten(0, 1)
    new = torch.where((winner >= 0).flatten()[:, None], vectors(b, c, i).flatten(0, 2), queue[place])
    queue.index_copy_(0, place, new)


def _starts(ring: Ring, counts: Tensor) -> Tensor:
    """(K, B) slots at which each image begins to write, for `counts` (K, B); updates the pointers.

    The pointer follows p -> 0 if p + n >= size else p + n, image by image. Without a loop: if the pointer was 0 before
    image s, sums of counts say which image wraps next, after which it is 0 again. Each s therefore has one successor, and
    the images reached from the first one are a row of the inverse of a triangular 0/1 matrix.
    """
    size, images = ring.queue.shape[1], counts.shape[1]
    before = counts.cumsum(1) - counts
    begin = F.pad(ring.ptr[:, None], (0, images - 1))  # the pointer before s: as it is now, and 0 after a wrap
    pointer = (begin - before)[:, :, None] + before[:, None, :]  # (K, s, b): before image b, if it was 0 before s
    wraps = (pointer + counts[:, None, :] >= size).triu()
    first = wraps & (wraps.cumsum(2) == 1)
    follows = F.pad(first, (1, 0))[..., :images].to(torch.float32)  # (K, s, s'): the image after the wrap begins at 0
    eye = torch.eye(images, device=counts.device)
    comes = torch.linalg.solve_triangular(eye - follows.mT, eye[:, :1].expand(len(counts), -1, -1), upper=False)[..., 0]
    latest = torch.where(comes > 0.5, torch.arange(images, device=counts.device), 0).cummax(1).values
    pointer = pointer.gather(1, latest[:, None, :])[:, 0]
    wrapped = pointer + counts >= size
    ring.ptr.copy_(torch.where(wrapped, 0, pointer + counts)[:, -1])
    return torch.where(wrapped, size - counts, pointer)
