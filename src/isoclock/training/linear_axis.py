"""Linear interpolation along one axis and its transpose, by ranges of outputs, in plain elementwise operations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import groupby

import torch
from torch import Tensor


@dataclass(frozen=True)
class CellRange:
    """Neighbouring cells with equally many outputs: `each` outputs lie between one input and the next.

    Inputs are counted with one more at either end, a copy of the outermost one.
    """

    first: int  # output
    cell: int  # input before the first output
    cells: int
    each: int

    @property
    def end(self) -> int:
        """The output behind the last one."""
        return self.first + self.cells * self.each


Strip = tuple[CellRange, ...]


class LinearAxis:
    """From `size` inputs to `full` outputs, as torch's `interpolate` does it with `align_corners=False`.

    All inputs (..., size + 2, m) have the outermost places twice, as after padding by 1 in mode `replicate`.
    """

    def __init__(self, size: int, full: int, dtype: torch.dtype, device: torch.device) -> None:
        """Any two sizes of at least 1. The fractions are exact before they are rounded to `dtype`."""
        self.size, self.full = size, full
        self.most = max(each for _, _, each in _cells(size, full))  # outputs of a cell
        places = torch.arange(full, device=device).mul_(2 * size).add_(size - full).remainder_(2 * full)
        self._fractions = places.to(dtype).div_(2 * full)

    def strips(self, limit: int) -> tuple[Strip, ...]:
        """All outputs in strips of up to `limit`, but of one whole cell at least."""
        return _strips(self.size, self.full, limit)

    def enlarge(self, inputs: Tensor, out: Tensor, strip: Strip) -> None:
        """Interpolate inputs (..., size + 2, m) into out (..., outputs of the strip, m)."""
        for run in strip:
            below, above = (inputs[..., i : i + run.cells, None, :] for i in (run.cell, run.cell + 1))
            torch.lerp(below, above, self._fraction(run), out=_part(out, run, strip))

    def reduce_(self, gradient: Tensor, inputs: Tensor, strip: Strip) -> None:
        """Add to inputs (..., size + 2, m) the transpose of gradient (..., outputs of the strip, m), which is overwritten."""
        for run in strip:
            part = _part(gradient, run, strip)
            both = part.sum(-2)
            above = part.mul_(self._fraction(run)).sum(-2)
            inputs[..., run.cell + 1 : run.cell + 1 + run.cells, :] += above
            inputs[..., run.cell : run.cell + run.cells, :] += both.sub_(above)

    def fold_(self, inputs: Tensor) -> Tensor:
        """The transpose of the copies at the ends: inputs (..., size + 2, m) to (..., size, m), a view."""
        inputs[..., 1, :] += inputs[..., 0, :]
        inputs[..., -2, :] += inputs[..., -1, :]
        return inputs[..., 1:-1, :]

    def enlarge_rows(self, inputs: Tensor, limit: int) -> Tensor:
        """Interpolate along the last axis, (..., size + 2) to (..., full), up to `limit` elements at a time.

        Transposed, because a CPU's vectors want a long innermost axis, and in parts, because its cache does.
        """
        out = inputs.new_empty(*inputs.shape[:-1], self.full)
        rows = max(1, limit // self.full)
        (strip,) = self.strips(self.full)
        for part, place in zip(inputs.flatten(0, -2).split(rows), out.flatten(0, -2).split(rows), strict=True):
            wide = part.new_empty(self.full, len(part))
            self.enlarge(part.t().contiguous(), wide, strip)
            place.copy_(wide.t())
        return out

    def reduce_rows(self, gradient: Tensor, limit: int) -> Tensor:
        """The transpose along the last axis, (..., full) to (..., size)."""
        out = gradient.new_empty(*gradient.shape[:-1], self.size)
        rows = max(1, limit // self.full)
        (strip,) = self.strips(self.full)
        parts = gradient.reshape(-1, self.full).split(rows)
        for part, place in zip(parts, out.flatten(0, -2).split(rows), strict=True):
            inputs = part.new_zeros(self.size + 2, len(part))
            self.reduce_(part.t().contiguous(), inputs, strip)
            place.copy_(self.fold_(inputs).t())
        return out

    def _fraction(self, run: CellRange) -> Tensor:
        return self._fractions[run.first : run.end].view(run.cells, run.each, 1)


def _part(tensor: Tensor, run: CellRange, strip: Strip) -> Tensor:
    """The run's part of a strip, (..., cells, each, m)."""
    start = strip[0].first
    return tensor[..., run.first - start : run.end - start, :].unflatten(-2, (run.cells, run.each))


@cache
def _cells(size: int, full: int) -> tuple[tuple[int, int, int], ...]:
    """(input before, first output, outputs) of every cell that has outputs. An output lies at (2 i + 1) size / (2 full) - 1/2."""
    cells, first = [], 0
    for cell, outputs in groupby(range(full), lambda i: ((2 * i + 1) * size - full) // (2 * full) + 1):
        cells.append((cell, first, sum(1 for _ in outputs)))
        first += cells[-1][2]
    return tuple(cells)


@cache
def _strips(size: int, full: int, limit: int) -> tuple[Strip, ...]:
    strips: list[list[CellRange]] = []
    for cell, first, each in _cells(size, full):
        if not strips or first + each - strips[-1][0].first > limit:
            strips.append([])
        strip = strips[-1]
        if strip and strip[-1].each == each and strip[-1].cell + strip[-1].cells == cell:
            strip[-1] = CellRange(strip[-1].first, strip[-1].cell, strip[-1].cells + 1, each)
        else:
            strip.append(CellRange(first, cell, 1, each))
    return tuple(tuple(strip) for strip in strips)
