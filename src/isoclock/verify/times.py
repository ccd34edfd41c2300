"""Times and anchor-steps of a record, recomputed from the ledger of its run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from isoclock.grid.layout import TrainedFiles
from isoclock.records.record import Record
from isoclock.runner.ledger import Event, events
from isoclock.runner.totals import totals

ROUNDED_S = 1e-3
"""Train times in a ledger are rounded to four digits, and read out a moment before the clock of the record."""


@dataclass
class _Logged:
    """What is compared of the events of a ledger, which are read once and not kept."""

    runs: set[str] = field(default_factory=set)
    ended_at: int | None = None  # iteration
    trained: tuple[int | None, float] = (None, 0.0)  # iteration and train time of the last event `train`
    anchors: set[float] = field(default_factory=set)  # seconds of an anchor step

    def watch(self, of: Iterable[Event]) -> Iterator[Event]:
        """Pass events on."""
        for event in of:
            kind = event["event"]
            if kind == "start" and "run_id" in event:
                self.runs.add(str(event["run_id"]))
            elif kind in ("finish", "diverged"):
                self.ended_at = max(event["iteration"], self.ended_at or 0)
            elif kind == "train":
                self.trained = event["iteration"], event["train_s"]
            elif kind == "anchor":
                self.anchors.add(event["anchor_s"])
            yield event


def time_problems(files: TrainedFiles, record: Record) -> Iterator[str]:
    """What differs between record.json and ledger.jsonl, one line each."""
    from isoclock.training.anchor import anchor_steps

    damaged: list[str] = []
    logged = _Logged()
    summed = totals(logged.watch(events(files.ledger, problems=damaged)))
    yield from damaged
    if summed.last is None:
        yield f"{files.ledger}: not there, or empty; copy it to the record"
        return

    def differs(key: str, value: object, expected: object) -> str:
        return f"{files.record}: {key}: {value}: {expected} by {files.ledger.name}; one of the two was changed"

    if logged.runs and logged.runs != {record.run_id}:
        yield differs("run_id", record.run_id, ", ".join(sorted(logged.runs)))
    if logged.ended_at != record.iterations.done:
        yield differs("iterations.done", record.iterations.done, logged.ended_at)
    if not math.isclose(summed.lost_s, record.clock.lost_s, abs_tol=ROUNDED_S):
        yield differs("clock.lost_s", record.clock.lost_s, round(summed.lost_s, 4))
    at, train_s = logged.trained
    if at == record.iterations.done and not math.isclose(train_s, record.clock.train_s, rel_tol=0.01, abs_tol=0.05):
        yield differs("clock.train_s", record.clock.train_s, train_s)
    summed_s = math.fsum(segment.train_s for segment in record.segments)
    if not math.isclose(summed_s, record.clock.train_s, rel_tol=1e-6, abs_tol=ROUNDED_S):
        yield f"{files.record}: clock.train_s: {record.clock.train_s}: its segments add up to {summed_s:.4f}; it was changed"
    for number, segment in enumerate(record.segments):
        unknown = [seconds for _, seconds in segment.anchors if seconds not in logged.anchors]
        if unknown:
            yield differs(f"segments[{number}].anchors", unknown[0], "not measured")
        steps = anchor_steps(segment.train_s, segment.anchors)
        same = steps == segment.anchor_steps or (
            None not in (steps, segment.anchor_steps)
            and math.isclose(steps or 0, segment.anchor_steps or 0, rel_tol=1e-9)
        )
        if not same:
            yield (
                f"{files.record}: segments[{number}].anchor_steps: {segment.anchor_steps}: {steps} by its anchors; it was changed"
            )
