"""mIoU of the methods, for a grid with one protocol and one budget size."""

from __future__ import annotations

from matplotlib.figure import Figure

from isoclock.report.dumbbell import budget_panels, dumbbells
from isoclock.report.figures import PairResults

TITLE = "mIoU of the methods"
CAPTION = (
    "Hollow: every method trains the same number of iterations. Filled: every method trains for the same compute. This grid "
    "has one of the two, at one budget. Large marks are means over seeds, small ones single seeds; holes are written out."
)


def draw(results: PairResults) -> Figure | None:
    """What `matched` shows, for a grid that has one protocol and one budget size. None for any other grid."""
    panels = budget_panels(results.summaries)
    if len(panels) != 1 or (panels[0].hollow and panels[0].filled):
        return None
    return dumbbells(panels, results.methods, "equal iterations", "equal compute")
