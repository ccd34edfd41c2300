"""What the ledger of a run adds up to: its last event, saves, and train time that was lost with a kill."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from isoclock.runner.ledger import Event, events


@dataclass
class Totals:
    """Sums over a ledger; times in seconds."""

    last: Event | None = None  # the last event, `progress` apart
    saves: int = 0
    saves_s: float = 0.0
    last_save_s: float = 0.0
    last_save_bytes: int = 0
    lost_s: float = 0.0  # train time that no later segment continued from
    logged_s: float | None = None  # train time at the last event that has it

    def lost_until(self, resumed_at_s: float) -> float:
        """Train time lost, if a segment resumes at `resumed_at_s` now."""
        return self.lost_s + max(0.0, (self.logged_s or 0.0) - resumed_at_s)


def read_totals(path: Path, problems: list[str] | None = None) -> Totals:
    """The totals of a ledger, in constant memory. If there are lines that are not events, `problems` gets a line."""
    return totals(events(path, every=sys.maxsize, problems=problems))


def totals(of: Iterable[Event]) -> Totals:
    """The totals of some events."""
    found = Totals()
    for event in of:
        kind, train_s = event["event"], event.get("train_s")
        if kind != "progress":
            found.last = event
        if kind == "checkpoint":
            found.saves += 1
            found.last_save_s, found.last_save_bytes = event.get("io_s", 0.0), event.get("bytes", 0)
            found.saves_s += found.last_save_s
        elif kind in ("start", "train", "pretrain", "progress") and train_s is not None:
            if kind == "start":
                found.lost_s = found.lost_until(train_s)
            found.logged_s = train_s
    return found
