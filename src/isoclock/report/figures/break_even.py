"""What an iteration costs, and what it would have to cost to tie canonical KD."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETLEFTBASE, CARETRIGHTBASE
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from isoclock.report.break_even import BreakEven, BreakEvenRow
from isoclock.report.curve import Bounds
from isoclock.report.figures import PairResults
from isoclock.report.panels import name_rows, side_by_side
from isoclock.report.style import COMPUTE, FAINT, HOLE_TEXT, INK, ITERATION, PAPER, RULE, TEACHER_TEXT
from isoclock.report.summary import budget_size, size_order

TITLE = "Cost of an iteration, measured and needed to tie canonical KD"
CAPTION = (
    "Bar: measured. Mark: needed, by the mean over seeds; small marks: single seeds. Right of the bar a method ties or wins "
    "already; left of canonical KD’s cost it would have to be cheaper than that; left of 1 it is out of reach, since no "
    "iteration costs less than its student step. Arrows are bounds: canonical KD was not measured there; single seeds that "
    "are bounds are in the table only."
)
_SIDES = {"iteration": (-0.17, ITERATION, PAPER), "compute": (0.17, COMPUTE, COMPUTE)}
"""Offset in the row, edge and face colour of a protocol's marks."""

_AT_LEAST, _AT_MOST = CARETRIGHTBASE, CARETLEFTBASE  # their base is at the bound, so that a bar there stays visible


def draw(results: PairResults) -> Figure | None:
    """One panel per budget size, one row per method. None if the needed cost is known for no method."""
    even = results.break_even
    if not any(row.needed for row in even.rows):
        return None
    methods = list(dict.fromkeys(row.point.method for row in even.rows))
    sizes = sorted({size for row in even.rows for size, _ in _sides(row)}, key=size_order)
    figure, panels = side_by_side(len(sizes), methods, head_in=1.45, row_in=0.46)
    low, high = _frame(even)
    for axes, size in zip(panels.flat, sizes, strict=False):
        _limits(axes, even, low)
        for row in even.rows:
            for of, protocol in _sides(row):
                if of == size:
                    _draw_row(axes, row, methods.index(row.point.method), protocol)
        axes.set_title(f"budget {size}", loc="left", pad=15)
        axes.tick_params(axis="x", labelbottom=True)  # also above an empty place
        axes.set_xlabel("anchor-steps per iteration (logarithmic)")
    first = panels.flat[0]
    first.set_xscale("log")
    first.set_xlim(low, high)
    first.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    first.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    first.xaxis.set_minor_locator(NullLocator())
    name_rows(panels, methods)
    _legend(figure, {protocol for row in even.rows for protocol in row.point.protocols})
    return figure


def _sides(row: BreakEvenRow) -> list[tuple[str, str]]:
    """(size, protocol) of each budget of a row."""
    budgets = zip(row.point.budgets, row.point.protocols, strict=True)
    return [(budget_size(name, protocol), protocol) for name, protocol in budgets]


def _frame(even: BreakEven) -> tuple[float, float]:
    """The ends of the axis: everything measured and everything needed, with a margin."""
    needed = [row.needed for row in even.rows if row.needed] + [own for row in even.rows for _, own in row.by_seed]
    ends = [end for each in needed for end in _ends(each.cost_to_tie)]
    shown = [1.0, even.kd_cost, *ends, *(row.point.cost for row in even.rows if row.point.cost)]
    return 0.8 * min(shown), 1.4 * max(shown)


def _ends(value: Bounds) -> list[float]:
    return [end for end in (value.low, value.high) if end and math.isfinite(end)]


def _limits(axes: Axes, even: BreakEven, low: float) -> None:
    """Draw the two limits; everything below the first is out of reach."""
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.axvspan(low, 1, color=RULE, alpha=0.5, zorder=0, linewidth=0)
    for limit, name, side in (
        (1.0, "student alone", "right"),
        (even.kd_cost, f"{even.yardstick} {even.kd_cost:.2f}", "left"),
    ):
        axes.axvline(limit, color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.text(limit, 1.005, name, transform=axes.get_xaxis_transform(), ha=side, **TEACHER_TEXT)


def _draw_row(axes: Axes, row: BreakEvenRow, place: int, protocol: str) -> None:
    """Draw one row: the measured cost as a bar, the needed one as a mark, and a line between them."""
    shift, colour, face = _SIDES[protocol]
    at, cost = place + shift, row.point.cost
    axes.axhline(place + 0.5, color=RULE, linewidth=0.6, zorder=0)
    if cost is not None:
        axes.plot([cost, cost], [at - 0.13, at + 0.13], color=INK, linewidth=2.2, solid_capstyle="butt", zorder=3)
    if row.needed is None:
        axes.text(
            0.015,
            at,
            row.point.hole if row.point.miou is None else row.why_not,
            transform=axes.get_yaxis_transform(),
            **HOLE_TEXT,
        )
        return
    for seed_cost in (needed.cost_to_tie.known for _, needed in row.by_seed if len(row.by_seed) > 1):
        if seed_cost is not None:
            axes.plot(seed_cost, at, "|", color=colour, ms=6, mew=1.2, alpha=0.8)
    tie = row.needed.cost_to_tie
    (end, *_), marker = _ends(tie), "o" if tie.known is not None else _AT_LEAST if tie.low else _AT_MOST
    axes.plot([end, row.needed.cost], [at, at], color=colour, linewidth=1, alpha=0.6, zorder=2)
    axes.plot(end, at, marker=marker, ms=7, mfc=face, mec=colour, mew=1.8, zorder=4)
    if len(row.point.scores) < row.point.seeds:
        axes.annotate(row.point.hole, (max(end, row.needed.cost), at), (7, 0), textcoords="offset points", **HOLE_TEXT)


def _legend(figure: Figure, protocols: set[str]) -> None:
    words = {"iteration": "needed, equal iterations", "compute": "needed, equal compute"}
    handles = [Line2D([], [], color=INK, marker="|", linestyle="", markersize=9, markeredgewidth=2.2, label="measured")]
    for protocol, (_, colour, face) in _SIDES.items():
        if protocol in protocols:
            look: dict[str, Any] = {
                "markerfacecolor": face,
                "markeredgecolor": colour,
                "markeredgewidth": 1.8,
                "markersize": 7,
            }
            handles.append(Line2D([], [], marker="o", linestyle="", label=words[protocol], **look))
    figure.legend(
        handles=handles,
        loc="outside upper right",
        ncols=len(handles),
        frameon=False,
        handletextpad=0.2,
        columnspacing=1.4,
    )
