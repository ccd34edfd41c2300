"""How far a run had come when its process ended without a word: a note of one line, written over after every iteration.

The ledger tells of every twentieth iteration, and of each pre-training likewise. What was trained since is lost with a kill,
and this note says how much it was. It costs one small write an iteration, waits for neither disk nor device, and what the
kernel has taken outlives the process.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from isoclock.runner.ledger import Event


class Pulse:
    """The note of a run folder. It is about the last segment that ran there."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pulse"
        self._stream: BinaryIO | None = None

    def read(self) -> tuple[int, float] | None:
        """Iterations done and seconds on the train clock; None where nothing (or half of it) is written."""
        try:
            iteration, train_s = self.path.read_text(encoding="ascii").split()
            return int(iteration), float(train_s)
        except (OSError, ValueError):
            return None

    def beat(self, iteration: int, train_s: float) -> None:
        """Write over the note. A full or failing disk is told where something is saved, not here."""
        line = f"{iteration:12d} {floored(train_s):18.4f}\n".encode("ascii")
        with suppress(OSError):
            if self._stream is None:
                self._stream = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644), "wb", buffering=0)
            os.pwrite(self._stream.fileno(), line, 0)

    def close(self) -> None:
        """Close the file until the next beat."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def floored(train_s: float) -> float:
    """Seconds as the ledger and this note have them: never more than a checkpoint may tell."""
    return math.floor(train_s * 1e4) / 1e4


def lost_s(events: list[Event], resumed_at_s: float) -> float:
    """Train time that a ledger told of and no later segment went on from, the one that resumes at `resumed_at_s` included."""
    lost = told_s = 0.0
    for event in events:
        if event["event"] == "start":
            lost += max(0.0, told_s - event["train_s"])
            told_s = event["train_s"]
        elif event["event"] in ("train", "pretrain", "pulse"):
            told_s = event["train_s"]
    return lost + max(0.0, told_s - resumed_at_s)


def last_sign(pulse: Pulse, events: list[Event]) -> tuple[int, float] | None:
    """What the note says beyond the last segment's lines in the ledger; None where it says no more than they."""
    found = pulse.read()
    told_s = [event["train_s"] for event in events if event["event"] in ("start", "train", "pretrain", "pulse")]
    return found if found is not None and told_s and found[1] > told_s[-1] else None
