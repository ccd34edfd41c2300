"""Metrics: every file of this package is one, named as its file. Importing them imports no torch.

A metric has `TITLE` and `UNIT` for tables ("%": a share in 0..1, shown in per cent; "": shown as it is), and
`of(confusion)`: its value for a confusion matrix (K, K) with rows = truth, columns = prediction, ignored pixels left out.
The value is None or NaN where the metric is undefined. Values are stored by name in scores.json, in tables and in MLflow.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from isoclock.discovery import modules_of


def metrics() -> dict[str, Any]:
    """The modules of all metrics by name, mIoU first."""
    return modules_of("scoring.metrics", first=("miou",))


def measure(confusion: NDArray[Any]) -> dict[str, float | None]:
    """Every metric of a confusion matrix (K, K), by name; None where it is undefined."""
    values = {name: metric.of(confusion) for name, metric in metrics().items()}
    return {name: None if value is None or math.isnan(value) else float(value) for name, value in values.items()}


def heading(name: str) -> tuple[str, float]:
    """Title of a metric with its unit, and the factor that turns a value into that unit.

    A metric without a file (it was removed after the scores were made) has its name as the title, and values as they are.
    """
    metric = metrics().get(name)
    if metric is None:
        return name, 1.0
    return f"{metric.TITLE} {metric.UNIT}".strip(), 100.0 if metric.UNIT == "%" else 1.0
