"""Figures of pairs of scores: one row per method, one side above the other, a line between their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isoclock.report.collect import FINISHED
from isoclock.report.panels import name_rows, side_by_side
from isoclock.report.style import COMPUTE, FAINT, HOLE_TEXT, ITERATION, PAPER, RULE, TEACHER_TEXT
from isoclock.report.summary import Summary, budget_size, budget_steps


@dataclass(frozen=True)
class Panel:
    """One panel: for each side, the summary of each row that has one."""

    title: str
    hollow: dict[str, Summary]
    filled: dict[str, Summary]

    @property
    def shown(self) -> list[Summary]:
        """The summaries of both sides."""
        return [*self.hollow.values(), *self.filled.values()]


def dumbbells(panels: Sequence[Panel], rows: Sequence[str], hollow: str, filled: str) -> Figure | None:
    """The panels side by side; `hollow` and `filled` name the two sides in the legend. None if nothing is scored."""
    if not any(s.miou.mean is not None for panel in panels for s in panel.shown):
        return None
    figure, grid = side_by_side(len(panels), rows, head_in=1.35, row_in=0.42)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, panel, rows)
        axes.set_title(panel.title, loc="left", pad=15)  # above the name of the teacher
        axes.set_xlabel("mIoU (%)")
    name_rows(grid, rows)
    _teacher_lines(list(grid.flat[: len(panels)]), [s for panel in panels for s in panel.shown])
    outlined: dict[str, Any] = {"markerfacecolor": PAPER, "markeredgecolor": ITERATION, "markeredgewidth": 1.8}
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=7, label=hollow, **outlined),
        Line2D([], [], marker="o", linestyle="", markersize=7, label=filled, color=COMPUTE),
    ]
    figure.legend(
        handles=handles, loc="outside upper right", ncols=2, frameon=False, handletextpad=0.2, columnspacing=1.4
    )
    return figure


def budget_panels(summaries: Sequence[Summary]) -> list[Panel]:
    """One panel per budget size: hollow at equal iterations, filled at equal compute."""
    panels = []
    for size in dict.fromkeys(_size(s) for s in summaries):
        mine = [s for s in summaries if _size(s) == size]
        sides = {
            protocol: {s.first.method: s for s in mine if s.first.protocol == protocol}
            for protocol in ("iteration", "compute")
        }
        panels.append(Panel(_title(mine), sides["iteration"], sides["compute"]))
    return panels


def _size(summary: Summary) -> str:
    return budget_size(summary.first.budget, summary.first.protocol)


def _title(summaries: Sequence[Summary]) -> str:
    size = _size(summaries[0])
    steps = budget_steps(s for s in summaries if s.first.protocol == "compute")
    return f"budget {size}" + (f" (compute: {steps:,.0f} anchor-steps)" if steps else "")


def _draw(axes: Axes, panel: Panel, rows: Sequence[str]) -> None:
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for row, name in enumerate(rows):
        axes.axhline(row + 0.5, color=RULE, linewidth=0.6, zorder=0)
        means = []
        for side, place, colour, face in (
            (panel.hollow, row - 0.16, ITERATION, PAPER),
            (panel.filled, row + 0.16, COMPUTE, COMPUTE),
        ):
            if (s := side.get(name)) is None:
                continue
            if s.miou.mean is None:
                axes.text(0.015, place, s.hole, transform=axes.get_yaxis_transform(), **HOLE_TEXT)
                continue
            seeds = [100 * value for value in s.scores.values()]
            if len(seeds) > 1:
                axes.plot([min(seeds), max(seeds)], [place, place], color=colour, linewidth=1.2, alpha=0.6)
                axes.plot(seeds, [place] * len(seeds), "|", color=colour, ms=6, mew=1.2, alpha=0.8)
            axes.plot(100 * s.miou.mean, place, "o", ms=7, mfc=face, mec=colour, mew=1.8, zorder=4)
            if s.count(FINISHED) < len(s.rows):
                axes.annotate(s.hole, (max(seeds), place), (7, 0), textcoords="offset points", **HOLE_TEXT)
            means.append((100 * s.miou.mean, place))
        if len(means) == 2:
            axes.plot(*zip(*means, strict=True), color=FAINT, linewidth=1, zorder=1)


def _teacher_lines(panels: Sequence[Axes], summaries: Sequence[Summary]) -> None:
    """Draw the teacher as a line if it is near the methods. A far one would squeeze them, so it is only named."""
    teacher = summaries[0].first.teacher_miou
    scores = [100 * value for s in summaries for value in s.scores.values()]
    if teacher is None:
        return
    spread = max(max(scores) - min(scores), 0.5)
    near = 100 * teacher < max(scores) + 0.6 * spread
    for axes in panels:
        if near:
            axes.axvline(100 * teacher, color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        label = f"teacher {100 * teacher:.1f}" + ("" if near else " →")
        if near:
            axes.text(100 * teacher, 1.005, label, transform=axes.get_xaxis_transform(), ha="center", **TEACHER_TEXT)
        else:
            axes.text(1, 1.005, label, transform=axes.transAxes, ha="right", **TEACHER_TEXT)
