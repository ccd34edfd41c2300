"""Times and anchor-steps of a record, recomputed from the ledger of its run."""

from __future__ import annotations

import math
from collections.abc import Iterator

from isoclock.grid.layout import TrainedFiles
from isoclock.records.record import Record
from isoclock.runner.ledger import events
from isoclock.runner.totals import totals

ROUNDED_S = 1e-3
"""Train times in a ledger are rounded to four digits, and read out a moment before the clock of the record."""


def time_problems(files: TrainedFiles, record: Record) -> Iterator[str]:
    """What differs between record.json and ledger.jsonl, one line each."""
    from isoclock.training.anchor import anchor_steps

    damaged: list[str] = []
    found = list(events(files.ledger, problems=damaged))
    yield from damaged
    if not found:
        yield f"{files.ledger}: not there, or empty; copy it to the record"
        return

    def differs(key: str, value: object, expected: object) -> str:
        return f"{files.record}: {key}: {value}: {expected} by {files.ledger.name}; one of the two was changed"

    runs = {event["run_id"] for event in found if event["event"] == "start" and "run_id" in event}
    if runs and runs != {record.run_id}:
        yield differs("run_id", record.run_id, ", ".join(sorted(map(str, runs))))
    last = max((event["iteration"] for event in found if event["event"] in ("finish", "diverged")), default=None)
    if last != record.iterations.done:
        yield differs("iterations.done", record.iterations.done, last)
    summed = totals(found)
    if not math.isclose(summed.lost_s, record.clock.lost_s, abs_tol=ROUNDED_S):
        yield differs("clock.lost_s", record.clock.lost_s, round(summed.lost_s, 4))
    trained = [event for event in found if event["event"] == "train"]
    if trained and trained[-1]["iteration"] == record.iterations.done:
        logged = trained[-1]["train_s"]
        if not math.isclose(logged, record.clock.train_s, rel_tol=0.01, abs_tol=0.05):
            yield differs("clock.train_s", record.clock.train_s, logged)
    summed_s = math.fsum(segment.train_s for segment in record.segments)
    if not math.isclose(summed_s, record.clock.train_s, rel_tol=1e-6, abs_tol=ROUNDED_S):
        yield f"{files.record}: clock.train_s: {record.clock.train_s}: its segments add up to {summed_s:.4f}; it was changed"
    measured = {event["anchor_s"] for event in found if event["event"] == "anchor"}
    for number, segment in enumerate(record.segments):
        unknown = [seconds for _, seconds in segment.anchors if seconds not in measured]
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
