"""With and without images that have no labels, at equal compute."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from isoclock.report.figures.dumbbell import Panel, dumbbells
from isoclock.report.summary import Summary


def further_images(summaries: Sequence[Summary], dataset: str, pair: str) -> Figure | None:
    """One panel a compute budget; filled is `dataset`, hollow the one data set of the same pair without such images.

    None where `dataset` is trained on labels alone, or where there is no one data set to compare it with.
    """
    of_pair = [s for s in summaries if s.first.pair == pair and s.first.protocol == "compute"]
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
