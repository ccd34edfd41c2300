"""Iteration-matched against compute-matched."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from isoclock.report.figures.dumbbell import Panel, dumbbells
from isoclock.report.summary import Summary, budget_size


def matched(summaries: Sequence[Summary], methods: Sequence[str]) -> Figure | None:
    """One panel a budget size, those with both protocols if there are any; a row a method."""
    panels = []
    for size in dict.fromkeys(budget_size(s.first.budget) for s in summaries):
        mine = [s for s in summaries if budget_size(s.first.budget) == size]
        sides = {
            protocol: {s.first.method: s for s in mine if s.first.protocol == protocol}
            for protocol in ("iteration", "compute")
        }
        panels.append(Panel(_title(mine), sides["iteration"], sides["compute"]))
    both = [panel for panel in panels if panel.hollow and panel.filled]
    return dumbbells(both or panels, methods, "equal iterations", "equal compute")


def _title(summaries: Sequence[Summary]) -> str:
    size = budget_size(summaries[0].first.budget)
    compute = next((s for s in summaries if s.first.protocol == "compute"), None)
    steps = compute.mean("planned_anchor_steps") if compute else None
    return f"budget {size}" + (f" (compute: {steps:,.0f} anchor-steps)" if steps else "")
