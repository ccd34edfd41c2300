"""Cells over seeds: one summary a method and budget, and differences to a reference method with their paired tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from isoclock.files import read_arrays
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.params.variants import the_one, without_factor
from isoclock.report.collect import DIVERGED, FINISHED, MISSING, CellRow, Study
from isoclock.scoring.stats import Estimate, bootstrap_miou_difference, paired_difference, t_interval

PREFERRED_REFERENCE = "kd"
_RESAMPLES = 4000


@dataclass(frozen=True)
class Summary:
    """The seeds of one method at one budget."""

    rows: tuple[CellRow, ...]
    miou: Estimate
    teacher_share: float | None
    marks: tuple[str, ...]

    @property
    def first(self) -> CellRow:
        """Any of the rows, for what all seeds share."""
        return self.rows[0]

    def count(self, status: str) -> int:
        """How many seeds ended with `status`."""
        return sum(row.status == status for row in self.rows)

    def mean(self, attribute: str) -> float | None:
        """Mean of a number over the finished seeds; where none finished, over those that know it.

        A run that broke off early would otherwise make the finished ones look cheap.
        """
        rows = [row for row in self.rows if row.status == FINISHED] or self.rows
        known = [value for row in rows if (value := getattr(row, attribute)) is not None]
        return sum(known) / len(known) if known else None

    @property
    def hole(self) -> str:
        """What is missing of the seeds, as figures write it."""
        missing = len(self.rows) - self.count(FINISHED) - self.count(DIVERGED)
        parts = [
            f"{number} {word}" for number, word in ((self.count(DIVERGED), "diverged"), (missing, "missing")) if number
        ]
        return "× " + ", ".join(parts)

    @property
    def scores(self) -> dict[Any, float]:
        """mIoU by seed, finished cells only."""
        return {row.seed: row.miou for row in self.rows if row.status == FINISHED and row.miou is not None}


@dataclass(frozen=True)
class Difference:
    """mIoU of a method minus the reference's at the same budget: over seeds, and over images for one shared seed."""

    dataset: str
    pair: str
    budget: str
    method: str
    reference: str
    over_seeds: Estimate
    over_images: Estimate | None
    seed: int | None


def summarise(rows: Iterable[CellRow]) -> list[Summary]:
    """One summary a (dataset, pair, budget, method), in the order of the rows; iteration budgets before compute."""

    def group(row: CellRow) -> tuple[str, ...]:
        return row.dataset, row.pair, row.protocol, row.budget, row.method

    rows = list(rows)
    place = {key: number for number, key in enumerate(dict.fromkeys(map(group, rows)))}
    budgets = _places(rows, lambda row: (row.dataset, row.pair))
    ordered = sorted(
        rows,
        key=lambda row: (
            budgets[row.dataset, row.pair],
            row.protocol != "iteration",
            size_order(budget_size(row.budget, row.protocol)),
            place[group(row)],
        ),
    )
    return [_summary(list(seeds)) for _, seeds in groupby(ordered, key=group)]


def differences(study: Study, summaries: list[Summary], reference: str | None = None) -> list[Difference]:
    """Every method against the reference (default: plain logit KD, `kd`) of its own pair and budget.

    The first method of the grid that distils stands in where there is no `kd`. Summaries without a shared seed are left
    out: the table of holes has them.
    """
    found = []
    for (dataset, pair, budget), same in groupby(
        summaries, key=lambda summary: (summary.first.dataset, summary.first.pair, summary.first.budget)
    ):
        by_method = {summary.first.method: summary for summary in same}
        base = reference or _reference(list(by_method))
        if base not in by_method:
            continue
        for method, summary in by_method.items():
            over_seeds = paired_difference(summary.scores, by_method[base].scores)
            if method == base or over_seeds.n == 0:
                continue
            seed = min(summary.scores.keys() & by_method[base].scores.keys())
            over_images = _over_images(study, summary, by_method[base], seed)
            found.append(Difference(dataset, pair, budget, method, base, over_seeds, over_images, seed))
    return found


def budget_size(budget: str, protocol: str) -> str:
    """A budget's name without its protocol: "compute-400" and "iteration-400" have the same size."""
    return budget.removeprefix(f"{protocol}-")


def size_order(size: str) -> tuple[int, float, str]:
    """Sort key of budget sizes: numbers first, then names."""
    number, thousands = size.removesuffix("k"), 1000 if size.endswith("k") else 1
    return (0, float(number) * thousands, "") if number.replace(".", "", 1).isdigit() else (1, 0.0, size)


def budget_steps(summaries: Iterable[Summary]) -> float | None:
    """Anchor-steps of a budget: the most that any of its methods plans to spend, since plans round iterations down."""
    return max((steps for s in summaries if (steps := s.mean("planned_anchor_steps"))), default=None)


def _summary(rows: list[CellRow]) -> Summary:
    miou = t_interval([row.miou for row in rows if row.status == FINISHED and row.miou is not None])
    teacher = rows[0].teacher_miou
    share = miou.mean / teacher if miou.mean is not None and teacher else None
    marks = [mark for row in rows for mark in row.marks]
    kinds = {row.device_kind for row in rows if row.device_kind}
    if len(kinds) > 1:
        marks.append("mixed device kinds")
    marks += [
        f"{count} {status}" for status in (DIVERGED, MISSING) if (count := sum(row.status == status for row in rows))
    ]
    return Summary(tuple(rows), miou, share, tuple(dict.fromkeys(marks)))


def _over_images(study: Study, first: Summary, second: Summary, seed: int) -> Estimate | None:
    """The paired bootstrap, where both cells left per-image confusions of the same images."""
    stacks, names = [], []
    for summary in (first, second):
        row = next(row for row in summary.rows if row.seed == seed)
        path = Layout(study.results).student_scores(Cell.parse(row.path)).confusion
        if not path.is_file():
            return None
        per_image, of = read_arrays(path, "per_image", "names", made_by=f"evaluate {row.path}")
        stacks.append(per_image)
        names.append(of.tolist())
    if names[0] != names[1] or stacks[0].shape != stacks[1].shape:
        return None
    return bootstrap_miou_difference(*stacks, resamples=_RESAMPLES)


def _reference(methods: list[str]) -> str | None:
    distilling = [method for method in methods if without_factor(method) != "none"]
    return the_one(methods, PREFERRED_REFERENCE) or next(iter(distilling), None)


def _places(rows: list[CellRow], key: Callable[[CellRow], Any]) -> dict[Any, int]:
    return {value: number for number, value in enumerate(dict.fromkeys(map(key, rows)))}
