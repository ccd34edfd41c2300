from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoclock.training.schedule import poly_lr


@given(total=st.integers(1, 50_000), factor=st.integers(1, 64), data=st.data())
def test_a_rescaled_budget_rescales_the_schedule_exactly(total: int, factor: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, total))
    short = poly_lr(at / total, lr=0.01, power=0.9, min_lr=1e-4)
    assert poly_lr(at * factor / (total * factor), lr=0.01, power=0.9, min_lr=1e-4) == short


@given(lr=st.floats(1e-6, 10), power=st.floats(0, 4), share=st.floats(0, 1))
def test_it_starts_at_lr_and_ends_at_the_floor(lr: float, power: float, share: float) -> None:
    assert poly_lr(0.0, lr=lr, power=power, min_lr=lr * share) == pytest.approx(lr)
    if power > 0:
        assert poly_lr(1.0, lr=lr, power=power, min_lr=lr * share) == lr * share


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_it_never_rises(progresses: list[float]) -> None:
    rates = [poly_lr(progress, lr=0.05, power=0.9, min_lr=1e-4) for progress in sorted(progresses)]
    assert all(before >= after for before, after in pairwise(rates))


def test_by_hand() -> None:
    assert poly_lr(0.5, lr=0.01, power=0.9) == pytest.approx(0.01 * 0.5**0.9)
    assert poly_lr(0.5, lr=1.1, power=2.0, min_lr=0.1) == pytest.approx(0.35)


@pytest.mark.parametrize("progress", [-1e-9, 1.0001, math.nan])
def test_progress_outside_its_range_is_refused(progress: float) -> None:
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        poly_lr(progress, lr=0.01, power=0.9)
