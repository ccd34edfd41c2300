"""Anchor-steps out of train time and what was measured on the way."""

from __future__ import annotations

import pytest

from isoclock.training.anchor import anchor_steps


def test_without_a_measurement_nothing_is_claimed() -> None:
    assert anchor_steps(10.0, []) is None


def test_a_steady_machine() -> None:
    assert anchor_steps(10.0, [[0.0, 0.1], [10.0, 0.1]]) == pytest.approx(100)


def test_before_the_first_and_after_the_last_their_rate_counts() -> None:
    assert anchor_steps(10.0, [[4.0, 0.1]]) == pytest.approx(100)


def test_a_slow_while_is_not_taken_for_work() -> None:
    """Twice as slow from 10 s to 30 s, and measured so at 10 s and 30 s: in-between times count at the mean rate."""
    measured = [[0.0, 0.1], [10.0, 0.2], [30.0, 0.2], [40.0, 0.1]]
    assert anchor_steps(40.0, measured) == pytest.approx(75 + 100 + 75)
