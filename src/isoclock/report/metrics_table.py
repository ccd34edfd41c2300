"""All metrics of the scores as a table: one row per method and budget, one column per metric."""

from __future__ import annotations

from collections.abc import Sequence

from isoclock.report import format
from isoclock.report.collect import FINISHED
from isoclock.report.summary import Summary
from isoclock.scoring.metrics import heading
from isoclock.statistics.estimate import Estimate, t_interval


def metric_names(summaries: Sequence[Summary]) -> list[str]:
    """Names of all metrics that any of the cells has, in the order of their scores.json; mIoU is not among them."""
    return list(dict.fromkeys(name for s in summaries for row in s.rows for name in row.metrics))


def metric_estimate(summary: Summary, name: str) -> Estimate:
    """Mean of a metric over the finished seeds and its 95 % t interval; seeds for which it is undefined are left out."""
    values = [row.metrics.get(name) for row in summary.rows if row.status == FINISHED]
    return t_interval([value for value in values if value is not None])


def metrics_table(summaries: Sequence[Summary]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows: method, budget, n, mIoU and each metric, as mean ± half of its interval. No rows without a metric."""
    names = metric_names(summaries)
    rows = [
        [
            *(s.first.method, s.first.budget, f"{s.count(FINISHED)} of {len(s.rows)}"),
            *(format.points(estimate) for estimate in (s.miou, *(metric_estimate(s, name) for name in names))),
        ]
        for s in summaries
        if names
    ]
    return ["method", "budget", "n", *map(heading, ["miou", *names])], rows
