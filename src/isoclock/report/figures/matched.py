"""Iteration-matched against compute-matched."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from isoclock.report.figures.dumbbell import Panel, dumbbells
from isoclock.report.summary import Summary, budget_size


def matched(summaries: Sequence[Summary], methods: Sequence[str]) -> Figure | None:
    """One panel a budget size that has both protocols; a row a method. None where there is no such size."""
    both = [panel for panel in _panels(summaries) if panel.hollow and panel.filled]
    return dumbbells(both, methods, "equal iterations", "equal compute") if both else None


def scores(summaries: Sequence[Summary], methods: Sequence[str]) -> Figure | None:
    """What `matched` shows of a grid that has one protocol and one budget size; None for any other grid."""
    panels = _panels(summaries)
    if len(panels) != 1 or (panels[0].hollow and panels[0].filled):
        return None
    return dumbbells(panels, methods, "equal iterations", "equal compute")


def _panels(summaries: Sequence[Summary]) -> list[Panel]:
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
    compute = next((s for s in summaries if s.first.protocol == "compute"), None)
    steps = compute.mean("planned_anchor_steps") if compute else None
    return f"budget {size}" + (f" (compute: {steps:,.0f} anchor-steps)" if steps else "")
