"""Metrics: every file of this package is one, named as its file. Importing them imports no torch.

A metric has `TITLE`, for tables, and `of(confusion)`: its value for a confusion matrix (K, K) with rows = truth, columns =
prediction, ignored pixels left out. It lies in 0..1 and is shown in per cent; None or NaN where the metric is undefined.
mIoU is the score that methods are compared by. The others are carried by name: scores.json, tables, the report, MLflow.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from isoclock.modules import modules_of


def metrics() -> dict[str, Any]:
    """The modules of all metrics by name, mIoU first."""
    return modules_of("scoring.metrics", first=("miou",))


def measure(confusion: NDArray[Any]) -> dict[str, float | None]:
    """Every metric of a confusion matrix (K, K), by name; None where it is undefined."""
    values = {name: metric.of(confusion) for name, metric in metrics().items()}
    return {name: None if value is None or math.isnan(value) else float(value) for name, value in values.items()}


def heading(name: str) -> str:
    """The head of a metric's column; a metric whose file was removed after the scores were made has its name there."""
    metric = metrics().get(name)
    return f"{name if metric is None else metric.TITLE} %"
