"""Anchor-steps out of train time and what was measured on the way."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from isoclock.training.anchor import AnchorMeter, AnchorTimes, anchor_steps


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


class Wall:
    """A clock that a test moves."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def measured(wall: Wall, times: AnchorTimes, seconds: float) -> None:
    with times.measuring():
        wall.now_s += seconds


def test_every_run_is_measured_three_times_on_the_way() -> None:
    assert [at for at in range(1, 1000) if AnchorTimes(1000).is_due(at)] == [250, 500, 750]
    assert [at for at in range(1, 2) if AnchorTimes(2).is_due(at)] == [1]
    assert not AnchorTimes(1).is_due(0)


def test_checkpoints_are_measured_while_the_share_of_wall_time_is_small() -> None:
    wall = Wall()
    times = AnchorTimes(1000, share=0.05, now=wall)
    times.start()
    measured(wall, times, 1.0)
    wall.now_s = 100.0  # 6 s would be spent then: this one, three on the way, and the last
    assert not times.allow_another(100)
    wall.now_s = 121.0
    assert times.allow_another(100)


@pytest.mark.parametrize("every_s", [1.0, 10.0, 600.0])
def test_the_share_holds_over_a_long_run_however_often_it_saves(every_s: float) -> None:
    """Counted over 1,000 iterations of 2 s, with a measurement that takes 1 s."""
    wall = Wall()
    times = AnchorTimes(1000, share=0.05, now=wall)
    times.start()
    measured(wall, times, 1.0)
    spent_s, count, saved_at_s = 1.0, 1, wall.now_s
    for at in range(1, 1001):
        wall.now_s += 2.0
        due = times.is_due(at) or at == 1000
        if not due and wall.now_s - saved_at_s >= every_s:
            saved_at_s = wall.now_s
            due = times.allow_another(at)
        if due:
            measured(wall, times, 1.0)
            spent_s, count = spent_s + 1.0, count + 1
    assert spent_s <= 0.05 * wall.now_s
    assert count >= (5 if every_s > 100 else 90), "and is used where checkpoints are frequent"


def test_a_new_segment_begins_with_nothing_spent() -> None:
    wall = Wall()
    times = AnchorTimes(1000, now=wall)
    times.start()
    measured(wall, times, 50.0)
    assert not times.allow_another(10)
    wall.now_s = 1000.0
    times.start()
    measured(wall, times, 0.5)
    wall.now_s = 1100.0
    assert times.allow_another(10)


@pytest.mark.parametrize(("device", "kept"), [("cpu", []), ("cuda:1", [torch.device("cuda:1")])])
def test_a_measurement_keeps_the_random_state_of_its_own_device(
    monkeypatch: pytest.MonkeyPatch, device: str, kept: list[torch.device]
) -> None:
    """torch would keep the state of every GPU of the machine, and warn if there are several."""
    named: list[Any] = []
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: (named.append(list(devices)), nullcontext())[1])
    bench: Any = SimpleNamespace(run=lambda _: 0.5)
    assert AnchorMeter(lambda: bench, torch.device(device))() == 0.5
    assert named == [kept]
