"""Cells over seeds: one summary a method and budget, with what all cells of its table say together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from isoclock.report.collect import DIVERGED, FINISHED, MISSING, CellRow
from isoclock.statistics.equivalence import equivalence_p
from isoclock.statistics.estimate import Estimate, t_interval
from isoclock.statistics.order import WORST, Rank, ranks
from isoclock.statistics.pooled import holm, pooled_mean, pooled_over_cells, pooled_over_pairs

TEACHER_MARGIN = 0.01
"""Share of the teacher's mIoU within which a student counts as its equal."""


@dataclass(frozen=True)
class Summary:
    """The seeds of one method at one budget."""

    rows: tuple[CellRow, ...]
    miou: Estimate
    teacher_share: float | None
    marks: tuple[str, ...]
    rank: Rank | None = None  # by mIoU, among the methods of the same budget
    teacher_p: float | None = (
        None  # of "within 1 % of the teacher's mIoU" (two one-sided tests, Holm, the teacher fixed)
    )

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

    @property
    def with_diverged(self) -> list[float]:
        """mIoU of each seed that ended, for what depends on the order only: a diverged run is the worst."""
        return [*self.scores.values(), *[WORST] * self.count(DIVERGED)]


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
    summaries = [_summary(list(seeds)) for _, seeds in groupby(ordered, key=group)]
    return [s for _, table in groupby(summaries, key=table_of) for s in _together(list(table))]


def table_of(summary: Summary) -> tuple[str, str]:
    """The table that a summary is in: its data set and pair. Statistics of a table use all of its cells."""
    return summary.first.dataset, summary.first.pair


def by_budget(summaries: Iterable[Summary]) -> list[list[Summary]]:
    """The summaries of each budget of a table."""
    return [list(same) for _, same in groupby(summaries, key=lambda summary: summary.first.budget)]


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
        f"{count} of {len(rows)} {status}"
        for status in (DIVERGED, MISSING)
        if (count := sum(row.status == status for row in rows))
    ]
    return Summary(tuple(rows), miou, share, tuple(dict.fromkeys(marks)))


def _together(table: list[Summary]) -> list[Summary]:
    """The summaries of a table with intervals from its pooled deviation, ranks, and the comparison with the teacher."""
    budgets = by_budget(table)
    cells = pooled_over_cells([s.scores for s in table])
    pairs = pooled_over_pairs([s.scores for s in same] for same in budgets)
    found = []
    for same in budgets:
        places = ranks([list(s.scores.values()) for s in same], [s.count(DIVERGED) for s in same], pairs)
        for summary, place in zip(same, places, strict=True):
            teacher, p = summary.first.teacher_miou, None
            if teacher and summary.miou.mean is not None:
                apart = replace(summary.miou, mean=summary.miou.mean - teacher, sd=cells.sd)
                p = equivalence_p(apart, cells.df, TEACHER_MARGIN * teacher)
            found.append(replace(summary, miou=pooled_mean(summary.miou, cells), rank=place, teacher_p=p))
    adjusted = holm([summary.teacher_p for summary in found])
    return [replace(summary, teacher_p=p) for summary, p in zip(found, adjusted, strict=True)]


def _places(rows: list[CellRow], key: Callable[[CellRow], Any]) -> dict[Any, int]:
    return {value: number for number, value in enumerate(dict.fromkeys(map(key, rows)))}
