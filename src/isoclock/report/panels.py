"""Figures of several panels side by side, with the same rows in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import NDArray

COLUMNS = 3


def side_by_side(count: int, rows: Sequence[str], *, head_in: float, row_in: float) -> tuple[Figure, NDArray[Any]]:
    """A figure of `count` panels that share their axes, and the grid of them.

    A line of panels is `head_in` inches high, and `row_in` more for each row. Places without a panel stay empty.
    """
    columns = min(COLUMNS, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(max(6.6, 4.3 * columns), lines * (head_in + row_in * len(rows))), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    return figure, grid


def name_rows(grid: NDArray[Any], rows: Sequence[str]) -> None:
    """Name the rows at the left of each line of panels, the first on top."""
    for axes in grid[:, 0]:
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.45, -0.55)
