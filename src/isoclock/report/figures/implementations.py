"""The published code against the tuned one, at equal compute: was the idea slow, or its code?"""

from __future__ import annotations

from matplotlib.figure import Figure

from isoclock.report.dumbbell import Panel, dumbbells
from isoclock.report.figures import PairResults

TITLE = "As published against tuned"
CAPTION = (
    "At equal compute. Hollow: computed as the published code does. Filled: the same mathematics in a faster implementation, "
    "which allows more iterations. Methods with one implementation are shown for comparison."
)
ENDINGS = (".tuned", ".reference")


def draw(results: PairResults) -> Figure | None:
    """One panel per compute budget, one row per method. None if no method has both implementations."""
    summaries = results.summaries
    bases = list(dict.fromkeys(_base(method) for method in results.methods))
    if len(bases) == len(results.methods):
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
