"""mIoU against the compute budget: one line per method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from isoclock.report.collect import FINISHED
from isoclock.report.figures import PairResults
from isoclock.report.style import HOLE_TEXT, LINES, MARKERS
from isoclock.report.summary import Summary, budget_steps

TITLE = "mIoU against compute budget"
CAPTION = (
    "Means over seeds; bars are 95 % t intervals where there is more than one seed. Holes are written out at the bottom, and "
    "leave a gap in the line."
)


def draw(results: PairResults) -> Figure | None:
    """The curve of each method. None if there are fewer than two compute budgets."""
    methods = results.methods
    compute = [s for s in results.summaries if s.first.protocol == "compute"]
    names = {s.first.budget for s in compute}
    budgets = {name: budget_steps(s for s in compute if s.first.budget == name) for name in names}
    places = sorted({steps for steps in budgets.values() if steps})
    if len(places) < 2:
        return None
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.grid(axis="y")
    axes.set_xscale("log")
    ends = []
    holes: dict[str, list[str]] = {}
    for number, method in enumerate(methods):
        colour = LINES[number % len(LINES)]
        # Methods are shifted a little, since their intervals at one budget would cover each other.
        shift = 1 + 0.012 * (number - (len(methods) - 1) / 2)
        by_budget = {s.first.budget: s for s in compute if s.first.method == method}
        points = []
        for budget in sorted(budgets, key=lambda name: budgets[name] or 0):
            s = by_budget.get(budget)
            if s is None or budgets[budget] is None:
                continue
            mean = float("nan") if s.miou.mean is None else 100 * s.miou.mean
            points.append(((budgets[budget] or 0) * shift, mean))
            if s.count(FINISHED) < len(s.rows):
                holes.setdefault(budget, []).append(f"{method}: {s.hole}")
            if s.miou.low is not None and s.miou.high is not None:
                axes.plot(
                    [points[-1][0]] * 2, [100 * s.miou.low, 100 * s.miou.high], color=colour, linewidth=1, alpha=0.45
                )
        axes.plot(*zip(*points, strict=True), color=colour, marker=MARKERS[number % len(MARKERS)], ms=5, linewidth=1.6)
        shown = [point for point in points if point[1] == point[1]]
        if shown:
            ends.append((shown[-1], method, colour))
    _scale_to_means(axes, compute)
    for budget, texts in holes.items():
        place: dict[str, Any] = {
            "xytext": (0, 3),
            "textcoords": "offset points",
            "xycoords": axes.get_xaxis_transform(),
        }
        axes.annotate(
            "\n".join(texts), (budgets[budget] or 0, 0), **place, **HOLE_TEXT | {"va": "bottom", "ha": "center"}
        )
    _end_labels(axes, ends)
    axes.set_xticks(places, [f"{steps:,.0f}" for steps in places])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="minor", length=0)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("budget (anchor-steps, logarithmic)")
    axes.set_ylabel("mIoU (%)")
    return figure


def _scale_to_means(axes: Axes, summaries: Sequence[Summary]) -> None:
    """Scale the axis to the seeds. An interval over two seeds may be wider than all others; it is cut at the frame."""
    values = [100 * value for s in summaries for value in s.scores.values()]
    if values:
        margin = max(0.2 * (max(values) - min(values)), 0.5)
        axes.set_ylim(max(0, min(values) - margin), min(100, max(values) + margin))


def _end_labels(axes: Axes, ends: list[tuple[tuple[float, float], str, str]]) -> None:
    """Name the lines at their ends, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    step, last = 0.052 * (high - low), float("-inf")
    right = max((point[0] for point, _, _ in ends), default=1)
    for point, method, colour in sorted(ends, key=lambda end: end[0][1]):
        last = max(point[1], last + step)
        axes.annotate(
            method, point, (right * 1.06, last), textcoords="data", color=colour, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.5, "shrinkA": 1, "shrinkB": 4},
        )  # fmt: skip
