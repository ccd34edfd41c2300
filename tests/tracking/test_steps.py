from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoclock.tracking.steps import settled_events, step_metrics


def line(kind: str, iteration: int, **more: Any) -> dict[str, Any]:
    return {"event": kind, "iteration": iteration, "unix": 1000.0 + iteration, **more}


def iterations(events: list[dict[str, Any]], kind: str = "train") -> list[int]:
    return [event["iteration"] for event in events if event["event"] == kind]


def test_a_later_segment_invalidates_events_after_its_start() -> None:
    first = [line("start", 0), line("train", 10, loss=1.0), line("checkpoint", 10), line("train", 20, loss=9.0)]
    second = [line("start", 10), line("train", 20, loss=0.5), line("finish", 20)]
    settled = settled_events(first + second, final=True)
    assert iterations(settled) == [10, 20]
    assert [metric.value for metric in step_metrics(settled)] == [1.0, 0.5]


def test_a_live_run_shows_no_event_after_its_last_checkpoint() -> None:
    events = [line("start", 0), line("train", 10), line("checkpoint", 15), line("train", 20)]
    assert iterations(settled_events(events, final=False)) == [10]
    assert settled_events(events[:2], final=False) == []


def test_an_invalidated_checkpoint_does_not_count() -> None:
    events = [line("start", 0), line("train", 10), line("checkpoint", 10), line("start", 0), line("train", 5)]
    assert iterations(settled_events(events, final=False)) == []


@pytest.mark.parametrize("last", ["finish", "diverged"])
def test_a_finished_ledger_is_valid_to_its_end(last: str) -> None:
    assert iterations(settled_events([line("start", 0), line("train", 7), line(last, 7)], final=False)) == [7]


def test_values_that_are_not_numbers_are_left_out() -> None:
    events = [
        line("train", 1, loss=math.nan, terms={"ce": math.inf, "kd": 2}, lr=10**400),
        line("evaluate", 1, miou=None),
    ]
    assert [(metric.name, metric.value) for metric in step_metrics(events)] == [("train/term/kd", 2.0)]


def test_names_steps_and_times() -> None:
    events = [
        line("train", 3, loss=1.5, terms={"ce": 1.0}, lr=0.1, train_s=2.0, iterations_per_s=4.0),
        line("evaluate", 3, miou=0.3),
        line("anchor", 3, anchor_s=0.05),
        line("system", 3, cpu_percent=80.5, gpu_power_w=612.0),
    ]
    metrics = step_metrics(events)
    assert {metric.name: metric.value for metric in metrics} == {
        "train/term/ce": 1.0,
        "train/loss": 1.5,
        "train/lr": 0.1,
        "train/train_s": 2.0,
        "train/iterations_per_s": 4.0,
        "val/miou": 0.3,
        "train/anchor_s": 0.05,
        "system/cpu_utilization_percentage": 80.5,
        "system/gpu_0_power_usage_watts": 612.0,
    }
    assert {(metric.iteration, metric.unix_ms) for metric in metrics} == {(3, 1_003_000)}


def test_the_rate_is_of_train_time_since_the_previous_event() -> None:
    events = [line("train", 10, train_s=5.0), line("evaluate", 10, miou=0.1), line("train", 30, train_s=10.0)]
    rates = [metric.value for metric in step_metrics(events) if metric.name == "train/iterations_per_s"]
    assert rates == [2.0, 4.0]


@given(st.data())
def test_shown_values_of_a_live_run_never_change(data: st.DataObject) -> None:
    """However often a run is killed and resumed from its last checkpoint, each result extends the previous one."""
    events: list[dict[str, Any]] = [line("start", 0)]
    iteration = saved = 0
    shown: list[dict[str, Any]] = []
    for move in data.draw(st.lists(st.sampled_from(["train", "checkpoint", "kill"]), max_size=30)):
        if move == "train":
            iteration += 1
            events.append(line("train", iteration, loss=float(len(events))))
        elif move == "checkpoint":
            saved = iteration
            events.append(line("checkpoint", iteration))
        else:
            iteration = saved
            events.append(line("start", iteration))
        now = [event for event in settled_events(events, final=False) if event["event"] == "train"]
        assert now[: len(shown)] == shown
        shown = now
