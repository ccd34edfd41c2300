"""The report's figures, each as svg, pdf and png. The same study gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

from isoclock.report.break_even import BreakEven
from isoclock.report.collect import Study
from isoclock.report.figures.break_even import needed_costs
from isoclock.report.figures.cost_shares import cost_shares
from isoclock.report.figures.further_images import further_images
from isoclock.report.figures.implementations import implementations
from isoclock.report.figures.matched import matched, scores
from isoclock.report.figures.miou_budget import miou_budget
from isoclock.report.format import version_note
from isoclock.report.style import STYLE, save
from isoclock.report.summary import Summary

__all__ = ["TITLES", "Drawing", "draw_figures"]


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
    "scores": (
        "mIoU of the methods",
        "Hollow: every method trains the same number of iterations. Filled: every method trains for the same compute. This "
        "grid has one of the two, at one budget. Large marks are means over seeds, small ones single seeds; holes are written "
        "out.",
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
    "break-even": (
        "Cost of an iteration, measured and needed to tie canonical KD",
        "Bar: measured. Mark: needed, by the mean over seeds; small ones: single seeds. Right of the bar a method ties or wins "
        "already; left of canonical KD’s cost it would have to be cheaper than that; left of 1 it is out of reach, since no "
        "iteration costs less than its student step. Arrows are bounds: canonical KD was not measured there; "
        "single seeds that are bounds stand in the table alone.",
    ),
    "implementations": (
        "As published against tuned",
        "At equal compute. Hollow: computed as the published code does. Filled: the same mathematics as fast as it can be "
        "made, which buys more iterations. Methods with one implementation are shown beside them.",
    ),
    "further-images": (
        "With and without images that have no labels",
        "At equal compute. Hollow: every batch has labels. Filled: a part of every batch has none, and is distilled alone. "
        "Both have the same labels; their teachers are trained alike.",
    ),
}
"""Title and caption of each figure, by its name, which its files begin with."""


def draw_figures(
    study: Study, summaries: Sequence[Summary], even: Mapping[tuple[str, str], BreakEven], folder: Path
) -> list[Drawing]:
    """Draw into `folder` what each pair's results allow.

    cost-shares; matched where a budget size has both protocols, scores where there is one size under one of them; miou-budget
    from two compute budgets on; break-even where canonical KD and another method are scored; implementations where a method is
    there in both; further-images where a data set has images without labels, and another the same labels alone.
    """
    drawings = []
    for dataset, pair in study.pairs:
        of_pair = [s for s in summaries if (s.first.dataset, s.first.pair) == (dataset, pair)]
        methods = study.methods(dataset, pair)
        with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its stub lists every key as a literal
            figures = {
                "matched": matched(of_pair, methods),
                "scores": scores(of_pair, methods),
                "implementations": implementations(of_pair, methods),
                "further-images": further_images(summaries, dataset, pair),
                "cost-shares": cost_shares(study, dataset, pair, methods),
                "miou-budget": miou_budget(of_pair, methods),
                "break-even": needed_costs(even[dataset, pair]),
            }
            for name, figure in figures.items():
                if figure is not None:
                    stem = folder / f"{name}-{dataset}-{pair}"
                    title, caption = TITLES[name]
                    if note := version_note(study.version):
                        figure.suptitle(note, x=0.01, ha="left", fontsize=8)
                        caption = f"{caption} {note}"
                    save(figure, stem)
                    drawings.append(Drawing(stem, dataset, pair, title, caption))
    return drawings
