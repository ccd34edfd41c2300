"""The report's figures, each as svg, pdf and png. The same study gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from isoclock.report.collect import DIVERGED, FINISHED, Study
from isoclock.report.style import (
    COMPUTE,
    FAINT,
    HOLE,
    HOLE_TEXT,
    INK,
    ITERATION,
    LINES,
    MARKERS,
    PAPER,
    RULE,
    SHARES,
    STYLE,
    TEACHER_TEXT,
    save,
)
from isoclock.report.summary import Summary, budget_size


@dataclass(frozen=True)
class Drawing:
    """One figure: its files share `stem` in the figures folder."""

    stem: Path
    dataset: str
    pair: str
    title: str
    caption: str

    @property
    def svg(self) -> Path:
        """The figure as SVG."""
        return self.stem.with_name(self.stem.name + ".svg")


TITLES = {
    "matched": (
        "Iteration-matched against compute-matched",
        "Hollow: every method trains the same number of iterations. Filled: every method trains for the same compute. "
        "Large marks are means over seeds, small ones single seeds; holes are written out.",
    ),
    "cost-shares": (
        "What one training iteration costs",
        "Anchor-steps an iteration, split by where the time goes. The whisker is the 95 % bootstrap interval of the "
        "total; the dashed line is the anchor, one student-only step.",
    ),
    "miou-budget": (
        "mIoU against compute budget",
        "Means over seeds; bars are 95 % t intervals where there is more than one seed. Holes are written out at the "
        "foot, and leave a gap in the line.",
    ),
}
"""Title and caption of each figure, by the first part of its file name."""


def draw_figures(study: Study, summaries: Sequence[Summary], folder: Path) -> list[Drawing]:
    """Draw what a pair's results allow into `folder`: matched, cost-shares, and miou-budget from two budgets on."""
    drawings = []
    for dataset, pair in study.pairs:
        of_pair = [s for s in summaries if (s.first.dataset, s.first.pair) == (dataset, pair)]
        methods = study.methods(dataset, pair)
        with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its stub lists every key as a literal
            figures = {
                "matched": _matched(of_pair, methods),
                "cost-shares": _cost_shares(study, dataset, pair, methods),
                "miou-budget": _miou_budget(of_pair, methods),
            }
            for name, figure in figures.items():
                if figure is not None:
                    stem = folder / f"{name}-{dataset}-{pair}"
                    save(figure, stem)
                    drawings.append(Drawing(stem, dataset, pair, *TITLES[name]))
    return drawings


def _matched(summaries: Sequence[Summary], methods: Sequence[str]) -> Figure | None:
    """One panel a budget size; a row a method; iteration-matched above compute-matched in the row."""
    sizes = list(dict.fromkeys(budget_size(s.first.budget) for s in summaries))
    both = [
        size for size in sizes if len({s.first.protocol for s in summaries if budget_size(s.first.budget) == size}) > 1
    ]
    sizes = both or sizes
    if not any(s.miou.mean is not None for s in summaries):
        return None
    columns = min(3, len(sizes))
    lines = -(-len(sizes) // columns)
    figure = Figure(figsize=(max(6.6, 4.3 * columns), lines * (1.35 + 0.42 * len(methods))), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for axes in panels.flat[len(sizes) :]:
        axes.set_axis_off()
    for axes, size in zip(panels.flat, sizes, strict=False):
        shown = [s for s in summaries if budget_size(s.first.budget) == size]
        _matched_panel(axes, shown, methods)
        axes.set_title(_panel_title(shown), loc="left", pad=8)
        axes.set_xlabel("mIoU (%)")
    for axes in panels[:, 0]:
        axes.set_yticks(range(len(methods)), methods)
        axes.set_ylim(len(methods) - 0.45, -0.55)
    _teacher_lines(list(panels.flat[: len(sizes)]), summaries)
    hollow: dict[str, Any] = {"markerfacecolor": PAPER, "markeredgecolor": ITERATION, "markeredgewidth": 1.8}
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=7, label="equal iterations", **hollow),
        Line2D([], [], marker="o", linestyle="", markersize=7, label="equal compute", color=COMPUTE),
    ]
    figure.legend(
        handles=handles, loc="outside upper right", ncols=2, frameon=False, handletextpad=0.2, columnspacing=1.4
    )
    return figure


def _matched_panel(axes: Axes, summaries: Sequence[Summary], methods: Sequence[str]) -> None:
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for row, method in enumerate(methods):
        axes.axhline(row + 0.5, color=RULE, linewidth=0.6, zorder=0)
        means = []
        for protocol, offset, colour in (("iteration", -0.16, ITERATION), ("compute", 0.16, COMPUTE)):
            found = [s for s in summaries if s.first.method == method and s.first.protocol == protocol]
            for s in found:
                place = row + offset
                if s.miou.mean is None:
                    axes.text(0.015, place, _hole(s), transform=axes.get_yaxis_transform(), **HOLE_TEXT)
                    continue
                seeds = [100 * value for value in s.scores.values()]
                if len(seeds) > 1:
                    axes.plot([min(seeds), max(seeds)], [place, place], color=colour, linewidth=1.2, alpha=0.6)
                    axes.plot(seeds, [place] * len(seeds), "|", color=colour, ms=6, mew=1.2, alpha=0.8)
                face = PAPER if protocol == "iteration" else colour
                axes.plot(100 * s.miou.mean, place, "o", ms=7, mfc=face, mec=colour, mew=1.8, zorder=4)
                if s.count(FINISHED) < len(s.rows):
                    axes.annotate(_hole(s), (max(seeds), place), (7, 0), textcoords="offset points", **HOLE_TEXT)
                means.append((100 * s.miou.mean, place))
        if len(means) == 2:
            axes.plot(*zip(*means, strict=True), color=FAINT, linewidth=1, zorder=1)


def _panel_title(summaries: Sequence[Summary]) -> str:
    size = budget_size(summaries[0].first.budget)
    compute = next((s for s in summaries if s.first.protocol == "compute"), None)
    steps = compute.mean("planned_anchor_steps") if compute else None
    return f"budget {size}" + (f" (compute: {steps:,.0f} anchor-steps)" if steps else "")


def _teacher_lines(panels: Sequence[Axes], summaries: Sequence[Summary]) -> None:
    """The teacher as a line where it is near; far away it would squeeze the methods, so it is only named."""
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


def _cost_shares(study: Study, dataset: str, pair: str, methods: Sequence[str]) -> Figure | None:
    profiles = [study.profiles.get((dataset, pair, method)) for method in methods]
    known = [profile for profile in profiles if profile]
    if not known:
        return None
    figure = Figure(figsize=(7.6, 1.25 + 0.36 * len(methods)), layout="constrained")
    axes = figure.subplots()
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    widest = max(profile["cost"]["high"] for profile in known)
    shares = {
        share: colour for share, colour in SHARES.items() if any(profile["shares"].get(share) for profile in known)
    }
    for row, profile in enumerate(profiles):
        if profile is None:
            axes.text(0.02 * widest, row, "no profile", color=HOLE, va="center", fontsize=8)
            continue
        cost, left = profile["cost"], 0.0
        for share, colour in shares.items():
            width = cost["ratio"] * profile["shares"].get(share, 0.0)
            label = share if profile is known[0] else None
            axes.barh(row, width, left=left, height=0.62, color=colour, edgecolor=PAPER, linewidth=0.7, label=label)
            left += width
        axes.plot([cost["low"], cost["high"]], [row, row], color=INK, linewidth=1.3, solid_capstyle="butt")
        marks = f"  {', '.join(profile['marks'])}" if profile.get("marks") else ""
        axes.text(cost["high"] + 0.015 * widest, row, f"{cost['ratio']:.2f}", va="center", fontsize=8.5)
        if marks:
            axes.text(cost["high"] + 0.075 * widest, row, marks, va="center", fontsize=7.5, color=HOLE)
    axes.axvline(1, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_xlim(0, widest * 1.2)
    axes.set_xlabel("anchor-steps per iteration")
    box = {"handlelength": 1, "handleheight": 1, "columnspacing": 1.3, "handletextpad": 0.5}
    figure.legend(loc="outside upper left", ncols=len(shares), frameon=False, **box)
    return figure


def _miou_budget(summaries: Sequence[Summary], methods: Sequence[str]) -> Figure | None:
    compute = [s for s in summaries if s.first.protocol == "compute"]
    budgets = {s.first.budget: _budget_steps(s.first.budget, compute) for s in compute}
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
        # Methods are set a little apart: at one budget their intervals would cover each other.
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
                holes.setdefault(budget, []).append(f"{method}: {_hole(s)}")
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


def _budget_steps(budget: str, summaries: Sequence[Summary]) -> float | None:
    """A budget in anchor-steps: the most any method plans to spend of it, since plans round iterations down."""
    planned = [s.mean("planned_anchor_steps") for s in summaries if s.first.budget == budget]
    return max((steps for steps in planned if steps), default=None)


def _scale_to_means(axes: Axes, summaries: Sequence[Summary]) -> None:
    """Scale to the seeds: an interval over two seeds may be wider than everything else, and is cut at the frame."""
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


def _hole(s: Summary) -> str:
    missing = len(s.rows) - s.count(FINISHED) - s.count(DIVERGED)
    parts = [f"{number} {word}" for number, word in ((s.count(DIVERGED), "diverged"), (missing, "missing")) if number]
    return "× " + ", ".join(parts)
