"""Iteration-matched against compute-matched."""

from __future__ import annotations

from matplotlib.figure import Figure

from isoclock.report.dumbbell import budget_panels, dumbbells
from isoclock.report.figures import PairResults

TITLE = "Iteration-matched against compute-matched"
CAPTION = (
    "Hollow: every method trains the same number of iterations. Filled: every method trains for the same compute. "
    "Large marks are means over seeds, small ones single seeds; holes are written out."
)


def draw(results: PairResults) -> Figure | None:
    """One panel per budget size that has both protocols, one row per method. None if no size has both."""
    both = [panel for panel in budget_panels(results.summaries) if panel.hollow and panel.filled]
    return dumbbells(both, results.methods, "equal iterations", "equal compute") if both else None
