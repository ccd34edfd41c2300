"""As published against as fast as can be, at equal compute: was it the idea or the code that was slow?"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from isoclock.report.figures.dumbbell import Panel, dumbbells
from isoclock.report.summary import Summary

ENDINGS = (".tuned", ".reference")


def implementations(summaries: Sequence[Summary], methods: Sequence[str]) -> Figure | None:
    """One panel a compute budget; a row a method that is there in both, and those that have but one for comparison."""
    bases = list(dict.fromkeys(_base(method) for method in methods))
    if len(bases) == len(methods):
        return None
    panels = []
    for budget in dict.fromkeys(s.first.budget for s in summaries if s.first.protocol == "compute"):
        mine = [s for s in summaries if s.first.budget == budget]
        tuned = {_base(s.first.method): s for s in mine if s.first.implementation == "tuned"}
        published = {_base(s.first.method): s for s in mine if s.first.implementation != "tuned"}
        panels.append(Panel(f"budget {budget}", published, tuned))
    return dumbbells(panels, bases, "as published", "tuned")


def _base(method: str) -> str:
    for ending in ENDINGS:
        method = method.removesuffix(ending)
    return method
