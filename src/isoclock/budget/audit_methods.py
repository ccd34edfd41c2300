"""The audit by method: what the deviations of all its cells together say about the cost in its profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from isoclock.budget.audit import AuditRow
from isoclock.records.profile import Profile
from isoclock.statistics.estimate import Estimate, t_interval

OTHER_COST = "other-cost"
Key = tuple[str, str, str]
"""Data set, pair and method."""


@dataclass(frozen=True)
class MethodAudit:
    """The cells of a method, which one plan's cost was assumed for.

    `deviation` is their mean with its 95 % t interval over cells, and `implied` the cost ratio that it implies. `low` and `high`
    are the interval of the profile's `cost_ratio`; None if the method was profiled again since. `mark` is `other-cost` if the
    implied cost is outside that interval, and its own does not contain the profile's: then it is not only contention in some cells.
    """

    key: Key
    cost_ratio: float
    low: float | None
    high: float | None
    deviation: Estimate
    implied: Estimate
    mark: str


def audit_methods(rows: Sequence[AuditRow], profiles: Mapping[Key, Profile]) -> list[MethodAudit]:
    """A row for each method and cost, over its cells whose deviation is known and that did not diverge."""
    known = [row for row in rows if row.deviation is not None and "diverged" not in row.marks]
    return [
        _method(key, ratio, [row.deviation for row in group if row.deviation is not None], profiles.get(key))
        for (key, ratio), group in groupby(sorted(known, key=_place), key=_place)
    ]


def _place(row: AuditRow) -> tuple[Key, float]:
    return (row.cell.dataset, row.cell.pair, row.cell.method), row.cost_ratio


def _method(key: Key, ratio: float, deviations: Sequence[float], profile: Profile | None) -> MethodAudit:
    deviation = t_interval(deviations)
    low, high = (
        (profile.cost.low, profile.cost.high) if profile is not None and profile.cost.ratio == ratio else (None, None)
    )
    ends = [None if end is None else ratio * (1 + end) for end in (deviation.mean, deviation.low, deviation.high)]
    implied = Estimate(deviation.n, *ends)
    apart = (
        low is not None
        and high is not None
        and implied.low is not None
        and implied.high is not None
        and not low <= (implied.mean or 0.0) <= high
        and not implied.low <= ratio <= implied.high
    )
    return MethodAudit(key, ratio, low, high, deviation, implied, OTHER_COST if apart else "")
