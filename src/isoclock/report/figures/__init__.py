"""The report's figures, each as svg, pdf and png: every file of this package is one, named as its file.

A figure has `TITLE`, `CAPTION`, which says how to read it, and `draw(results)`: the figure of one pair of networks, or None
where its results have nothing to show. The same study gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

from isoclock.modules import modules_of
from isoclock.report.break_even import BreakEven
from isoclock.report.collect import Study
from isoclock.report.format import version_note
from isoclock.report.style import STYLE, save
from isoclock.report.summary import Summary

__all__ = ["Drawing", "PairResults", "draw_figures"]

_ORDER = ("matched", "scores", "implementations", "further_images", "cost_shares", "miou_budget", "break_even")
"""These figures come first, in this order; the others follow by name."""


@dataclass(frozen=True)
class PairResults:
    """What a figure may show: the results of one pair on one data set, and the study that they are part of."""

    study: Study
    all_summaries: Sequence[Summary]
    break_even: BreakEven
    dataset: str
    pair: str

    @property
    def summaries(self) -> list[Summary]:
        """Those of this pair on this data set."""
        return [s for s in self.all_summaries if (s.first.dataset, s.first.pair) == (self.dataset, self.pair)]

    @property
    def methods(self) -> list[str]:
        """The pair's methods in the grid's order."""
        return self.study.methods(self.dataset, self.pair)


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


def draw_figures(
    study: Study, summaries: Sequence[Summary], even: Mapping[tuple[str, str], BreakEven], folder: Path
) -> list[Drawing]:
    """Draw into `folder` every figure of every pair that its results allow. File names begin with the figure's name."""
    drawings = []
    for dataset, pair in study.pairs:
        results = PairResults(study, summaries, even[dataset, pair], dataset, pair)
        for name, module in modules_of("report.figures", first=_ORDER).items():
            with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its stub lists every key as a literal
                figure = module.draw(results)
                if figure is None:
                    continue
                stem, caption = folder / f"{name.replace('_', '-')}-{dataset}-{pair}", module.CAPTION
                if note := version_note(study.version):
                    figure.suptitle(note, x=0.01, ha="left", fontsize=8)
                    caption = f"{caption} {note}"
                save(figure, stem)
            drawings.append(Drawing(stem, dataset, pair, module.TITLE, caption))
    return drawings
