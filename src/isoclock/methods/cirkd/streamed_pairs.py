"""The two passes of CIRKD's mini-batch term in torch, tile by tile; only the tiles on and above the diagonal are computed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from isoclock.kernels.precision import loss_dtype
from isoclock.methods.cirkd.divergence import SUMS, product_, summands_

SIDE = {"cpu": 1 << 10, "cuda": 1 << 13}
"""Rows and columns of a tile. Its SUMS maps are 16 MiB on a CPU, about its last-level cache, and elsewhere 1 GiB."""


def sums(ours: Tensor, theirs: Tensor, images: int) -> Tensor:
    """What `divergence` needs, in loss precision (SUMS, images, R): sums over the pixels of each image j for each row r.

    ours (R, C_S), theirs (R, C_T): rows of all images, one image after the other; S = ours ours^t, T = theirs theirs^t.
    """
    result = torch.zeros(SUMS, images, images, len(ours) // images, dtype=loss_dtype(ours), device=ours.device)
    for (a, b), (left, right), (left_t, right_t), maps in _tiles(ours, theirs, images):
        tile = maps[:, : len(left) * len(right)].view(SUMS, len(left), len(right))
        product_(left, right, tile[0])
        product_(left_t, right_t, tile[1])
        summands_(tile[:2], tile[2:])
        by_image = tile.view(SUMS, images, -1, images, len(right) // images)
        result[..., a] += by_image.sum(4).permute(0, 3, 1, 2)
        if a != b:
            result[..., b] += by_image.sum(2)
    return result.flatten(2)


def gradient(ours: Tensor, theirs: Tensor, inverse: Tensor) -> Tensor:
    """(G + G^t) ours, in loss precision (R, C_S), G_rc = exp(S_rc) inverse[0, j, r] - exp(T_rc) inverse[1, j, r], c in image j.

    inverse: (2, images, R) in loss precision. G is rounded to the type of `ours`.
    """
    images = inverse.shape[1]
    inverse = inverse.unflatten(2, (images, -1))
    result = torch.zeros(images, inverse.shape[3], ours.shape[1], dtype=inverse.dtype, device=ours.device)
    for (a, b), (left, right), (left_t, right_t), maps in _tiles(ours, theirs, images):
        of_student, of_teacher, factor = maps[:3, : len(left) * len(right)].view(3, len(left), len(right))
        product_(left, right, of_student).exp_()
        product_(left_t, right_t, of_teacher).exp_()
        by_image = factor.view(images, -1, images, len(right) // images)
        of_rows, of_columns = inverse[..., a].permute(0, 2, 3, 1)[..., None], inverse[:, :, None, :, b]
        torch.add(of_rows[0], of_columns[0], out=by_image)
        of_student.mul_(factor)
        torch.add(of_rows[1], of_columns[1], out=by_image)
        both = of_student.addcmul_(of_teacher, factor, value=-1).to(ours.dtype)
        result[:, a] += torch.mm(both, right).view(images, -1, ours.shape[1])
        if a != b:
            result[:, b] += torch.mm(both.t(), left).view(images, -1, ours.shape[1])
    return result.flatten(0, 1)


Pair = tuple[Tensor, Tensor]


def _tiles(ours: Tensor, theirs: Tensor, images: int) -> Iterator[tuple[tuple[slice, slice], Pair, Pair, Tensor]]:
    """Ranges of pixels of rows and columns, the rows of all images there (student's, teacher's), and memory for SUMS maps."""
    pixels = len(ours) // images
    step = min(pixels, max(1, SIDE.get(ours.device.type, SIDE["cuda"]) // images))
    spans = [slice(start, min(start + step, pixels)) for start in range(0, pixels, step)]
    x, y = ([rows.unflatten(0, (images, -1))[:, span].flatten(0, 1) for span in spans] for rows in (ours, theirs))
    maps = torch.empty(SUMS, (images * step) ** 2, dtype=loss_dtype(ours), device=ours.device)
    for p in range(len(spans)):
        for q in range(p, len(spans)):
            yield (spans[p], spans[q]), (x[p], x[q]), (y[p], y[q]), maps
