"""Metrics by step from a run's ledger, without iterations that were repeated or may still be repeated."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from isoclock.runner.ledger import Event, valid_events

_STEP_EVENTS = ("train", "evaluate", "anchor", "system")
# The names that MLflow gives to its own system metrics, which have a page of their own.
_SYSTEM = {
    "cpu_percent": "system/cpu_utilization_percentage",
    "memory_mb": "system/system_memory_usage_megabytes",
    "memory_percent": "system/system_memory_usage_percentage",
    "process_memory_mb": "system/process_memory_usage_megabytes",
    "gpu_percent": "system/gpu_0_utilization_percentage",
    "gpu_memory_mb": "system/gpu_0_memory_usage_megabytes",
    "gpu_memory_percent": "system/gpu_0_memory_usage_percentage",
    "gpu_power_w": "system/gpu_0_power_usage_watts",
}


@dataclass(frozen=True)
class StepMetric:
    """One value of one metric: `kind` is its ledger event, `unix_ms` the time when that was written."""

    kind: str
    name: str
    value: float
    iteration: int
    unix_ms: int


def settled_events(events: Iterable[Event], *, final: bool) -> list[Event]:
    """The valid events, in the order of the ledger.

    A segment that resumes at iteration k invalidates earlier events after k. While a run is live (`final` False), events
    after its last checkpoint are left out too: a kill would invalidate them, and MLflow cannot remove a metric.
    """
    standing = valid_events(events)
    if final or any(event["event"] in ("finish", "diverged") for event in standing):
        return standing
    safe = max((event["iteration"] for event in standing if event["event"] == "checkpoint"), default=-1)
    return [event for event in standing if event["iteration"] <= safe]


def step_metrics(events: Iterable[Event], every: int = 1) -> list[StepMetric]:
    """The finite values of the events of `_STEP_EVENTS`, of the first of each kind in each `every` iterations.

    If an iteration was written twice, the later one counts.
    """
    events = list(events)
    chosen: dict[tuple[str, int], Event] = {}
    for event in events:
        place = event["event"], event["iteration"] // every
        if place[0] in _STEP_EVENTS and (place not in chosen or chosen[place]["iteration"] == event["iteration"]):
            chosen[place] = event
    metrics = []
    pretrained_s = [event.get("train_s", 0.0) for event in events if event["event"] == "pretrain"]
    before: Event = {"iteration": 0, "train_s": max(pretrained_s, default=0.0)}
    for (kind, _), event in chosen.items():
        values, iteration = _values(kind, event), event["iteration"]
        if kind == "train":
            values["train/iterations_per_s"] = event.get("iterations_per_s", _rate(before, event))
            before = event
        for name, value in values.items():
            if is_number(value):
                metrics.append(StepMetric(kind, name, float(value), iteration, round(event["unix"] * 1000)))
    return metrics


def is_number(value: Any) -> bool:
    """Whether `value` can be a metric: a finite number (an absent class has IoU null, a diverged loss may be NaN)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _rate(before: Event, event: Event) -> float | None:
    """Iterations per second of train time between two train events; None if the clock did not advance or is missing."""
    train_s = (event.get("train_s") or 0.0) - (before.get("train_s") or 0.0)
    return (event["iteration"] - before["iteration"]) / train_s if train_s > 0 else None


def _values(kind: str, event: Event) -> dict[str, Any]:
    if kind == "train":
        terms = {f"train/term/{term}": value for term, value in (event.get("terms") or {}).items()}
        named = {
            "train/loss": "loss",
            "train/lr": "lr",
            "train/train_s": "train_s",
        }
        return terms | {name: event.get(field) for name, field in named.items()}
    if kind == "evaluate":
        return {"val/miou": event.get("miou")}
    if kind == "system":
        return {name: event.get(field) for field, name in _SYSTEM.items()}
    return {"train/anchor_s": event.get("anchor_s")}
