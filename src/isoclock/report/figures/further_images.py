"""With and without images that have no labels, at equal compute."""

from __future__ import annotations

from matplotlib.figure import Figure

from isoclock.report.dumbbell import Panel, dumbbells
from isoclock.report.figures import PairResults

TITLE = "With and without images that have no labels"
CAPTION = (
    "At equal compute. Hollow: every batch has labels. Filled: part of every batch has none, and is only distilled. Both have "
    "the same labels; their teachers are trained alike."
)


def draw(results: PairResults) -> Figure | None:
    """One panel per compute budget; filled is the data set, hollow the only other one of the same pair without such images.

    None if every image of the data set has labels, or if there is not exactly one data set to compare it with.
    """
    dataset, pair = results.dataset, results.pair
    of_pair = [s for s in results.all_summaries if s.first.pair == pair and s.first.protocol == "compute"]
    mine = [s for s in of_pair if s.first.dataset == dataset]
    others = [s for s in of_pair if s.first.dataset != dataset and not any(row.unlabelled_per_batch for row in s.rows)]
    if not any(row.unlabelled_per_batch for s in mine for row in s.rows) or len({s.first.dataset for s in others}) != 1:
        return None
    panels = []
    for budget in dict.fromkeys(s.first.budget for s in mine):
        sides = [{s.first.method: s for s in side if s.first.budget == budget} for side in (others, mine)]
        panels.append(Panel(f"budget {budget}", *sides))
    methods = list(dict.fromkeys(s.first.method for s in mine))
    return dumbbells(panels, methods, f"labels alone ({others[0].first.dataset})", f"and images without ({dataset})")
