"""The audit by method: pooled deviations, the cost that they imply, and error bars of single cells."""

from __future__ import annotations

from typing import Any

import pytest

import documents
from isoclock.budget.audit import AuditRow, audit_record
from isoclock.budget.audit_methods import OTHER_COST, audit_methods
from isoclock.grid.cells import Cell
from isoclock.records.profile import Profile

KEY = ("streets", "demo", "kd")


def cell(seed: int, method: str = "kd") -> Cell:
    return Cell("streets", "demo", method, "compute-400", seed)


def row(seed: int, deviation: float, **changes: Any) -> AuditRow:
    """A cell whose 100 anchor-steps of 0.1 s took 1 + `deviation` times as long."""
    planned = documents.plan(cell(seed), iterations=50, cost_ratio=2.0)
    segments = [documents.segment(10.0 * (1 + deviation), 0.1)]
    return audit_record(documents.student_record(cell(seed), planned, segments, **changes))


def profile(low: float, high: float, ratio: float = 2.0) -> Profile:
    found = documents.profile()
    return found.model_copy(update={"cost": found.cost.model_copy(update={"ratio": ratio, "low": low, "high": high})})


def test_deviations_are_pooled_and_imply_a_cost() -> None:
    (found,) = audit_methods([row(0, 0.04), row(1, 0.06), row(2, 0.05)], {KEY: profile(1.95, 2.05)})
    assert (found.key, found.deviation.n) == (KEY, 3)
    assert found.deviation.mean == pytest.approx(0.05)
    assert found.implied.mean == pytest.approx(2.1)
    assert found.implied.low == pytest.approx(2 * (1 + found.deviation.low))


@pytest.mark.parametrize(
    ("deviations", "mark"),
    [
        ([0.10, 0.11, 0.09], OTHER_COST),
        ([-0.10, -0.11, -0.09], OTHER_COST),
        ([0.30, 0.00, -0.02], ""),  # one cell with contention
        ([0.01, 0.02, 0.00], ""),
        ([0.30], ""),  # one cell has no interval
    ],
)
def test_a_method_is_marked_if_both_intervals_are_apart(deviations: list[float], mark: str) -> None:
    rows = [row(seed, deviation) for seed, deviation in enumerate(deviations)]
    (found,) = audit_methods(rows, {KEY: profile(1.95, 2.05)})
    assert found.mark == mark


def test_a_profile_of_another_cost_has_no_interval_here() -> None:
    (found,) = audit_methods([row(0, 0.2), row(1, 0.2)], {KEY: profile(2.9, 3.1, ratio=3.0)})
    assert (found.low, found.high, found.mark) == (None, None, "")
    assert audit_methods([row(0, 0.2)], {})[0].low is None


def test_diverged_and_unmeasured_cells_are_left_out() -> None:
    unmeasured = audit_record(
        documents.student_record(cell(5), documents.plan(cell(5)), [documents.segment(10.0, None)])
    )
    assert unmeasured.deviation is None
    assert unmeasured.deviation_error is None
    (found,) = audit_methods([row(0, 0.5, status="diverged"), unmeasured, row(1, 0.01)], {})
    assert found.deviation.n == 1


def test_the_error_of_a_cell_is_that_of_its_anchor_steps() -> None:
    planned = documents.plan(cell(0), iterations=50, cost_ratio=2.0)
    segment = documents.segment(10.0, 0.1)

    def error(*seconds: float) -> float | None:
        pairs = [(float(at), value) for at, value in enumerate(seconds)]
        changed = (
            segment | {"anchors": pairs} if isinstance(segment, dict) else segment.model_copy(update={"anchors": pairs})
        )
        return audit_record(documents.student_record(cell(0), planned, [changed])).deviation_error

    assert error(0.1, 0.1, 0.1) == pytest.approx(0.0)
    assert error(0.1) is None
    assert error(0.09, 0.10, 0.11) == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)
