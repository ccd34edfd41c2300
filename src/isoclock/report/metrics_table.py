"""All metrics of the scores as a table: one row per method and budget, one column per metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from isoclock.report import format
from isoclock.report.collect import FINISHED, CellRow
from isoclock.report.summary import Summary
from isoclock.scoring.metrics import heading
from isoclock.scoring.stats import Estimate, t_interval


def metric_names(rows: Iterable[CellRow]) -> list[str]:
    """Names of all metrics that any of the rows has, in the order of their scores.json."""
    return list(dict.fromkeys(name for row in rows for name in row.metrics))


def metric_estimate(summary: Summary, name: str) -> Estimate:
    """Mean of a metric over the finished seeds and its 95 % t interval; seeds for which it is undefined are left out."""
    values = [row.metrics.get(name) for row in summary.rows if row.status == FINISHED]
    return t_interval([value for value in values if value is not None])


def metrics_table(summaries: Sequence[Summary]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of texts: method, budget, n, and each metric's mean ± half of its interval. No rows without a metric."""
    names = metric_names(row for s in summaries for row in s.rows)
    heads = {name: heading(name) for name in names}
    rows = [
        [
            s.first.method,
            s.first.budget,
            f"{s.count(FINISHED)} of {len(s.rows)}",
            *(format.points(metric_estimate(s, name), factor) for name, (_, factor) in heads.items()),
        ]
        for s in summaries
        if names
    ]
    return ["method", "budget", "n", *(title for title, _ in heads.values())], rows
