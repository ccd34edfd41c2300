"""The rows of a forecast: jobs and device hours of a stage on one data set and pair, and their sums."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

STAGES = ("prepare", "teacher", "profile", "plan", "student", "evaluate")
ARITHMETIC, UNKNOWN = "no device", "not known"


@dataclass(frozen=True)
class ForecastRow:
    """Jobs of a stage on one data set and pair. `hours` are of a device, of all jobs together, `made` ones included."""

    stage: str
    where: str
    jobs: int
    made: int  # whose output is there, whether up to date or not
    hours: float | None  # None: not known
    hours_left: float | None  # of those that are not made
    basis: str
    gb: float | None = 0.0  # of packed images, weights and checkpoints, of all jobs together; None: not known


@dataclass(frozen=True)
class Forecast:
    """Rows by stage; `tflops` is the rate that estimates were made with, `tflops_from` where it comes from."""

    grid: str
    rows: tuple[ForecastRow, ...]
    tflops: float
    tflops_from: str
    notes: tuple[str, ...] = field(default=())

    def of(self, stage: str) -> list[ForecastRow]:
        """The rows of a stage."""
        return [row for row in self.rows if row.stage == stage]

    def as_json(self) -> dict[str, Any]:
        """Everything, with sums by stage and over all; what is not known is left out of sums, and `complete` says so."""
        stages = {stage: _sums(self.of(stage)) for stage in STAGES}
        return {**asdict(self), "stages": stages, "total": _sums(self.rows)}


def _sums(rows: Iterable[ForecastRow]) -> dict[str, Any]:
    rows = list(rows)
    return {
        "jobs": sum(row.jobs for row in rows),
        "made": sum(row.made for row in rows),
        "hours": sum(row.hours or 0.0 for row in rows),
        "hours_left": sum(row.hours_left or 0.0 for row in rows),
        "gb": sum(row.gb or 0.0 for row in rows),
        "complete_gb": all(row.gb is not None for row in rows),
        "complete": all(row.hours is not None for row in rows),
    }
