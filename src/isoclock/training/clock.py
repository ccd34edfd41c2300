"""Three monotonic clocks of a run: train, evaluate, io. Exactly one runs, or none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Name = Literal["train", "evaluate", "io"]
NAMES: tuple[Name, ...] = ("train", "evaluate", "io")


class Clock:
    """Seconds spent training, evaluating and saving, over all segments of a run.

    `synchronise` waits for the device; it is called only where the running clock changes and in `read`, so that no step
    pays for it. On the train clock: waiting for data, transfer, student, teacher, loss, backward, optimiser.
    """

    def __init__(self, synchronise: Callable[[], None], now: Callable[[], float] = time.perf_counter) -> None:
        self._synchronise = synchronise
        self._now = now
        self._spent: dict[Name, float] = dict.fromkeys(NAMES, 0.0)
        self._running: Name | None = None
        self._since = 0.0

    def read(self) -> dict[Name, float]:
        """Seconds on each clock, the running one up to this moment."""
        self._settle()
        return dict(self._spent)

    @property
    def train_s(self) -> float:
        """Seconds on the train clock, up to this moment, without waiting for the device."""
        return self._spent["train"] + (self._now() - self._since if self._running == "train" else 0.0)

    @contextmanager
    def running(self, name: Name | None) -> Iterator[None]:
        """Let one clock run (or none) for a while, and then again the one that ran before."""
        before = self._running
        self._switch(name)
        try:
            yield
        finally:
            self._switch(before)

    def restore(self, spent: dict[Name, float]) -> None:
        """Carry on from an earlier segment. Only while no clock runs."""
        if self._running is not None:
            raise RuntimeError("a running clock cannot be restored")
        self._spent = {name: float(spent[name]) for name in NAMES}

    def _switch(self, name: Name | None) -> None:
        self._settle()
        self._running = name

    def _settle(self) -> None:
        self._synchronise()
        now = self._now()
        if self._running is not None:
            self._spent[self._running] += now - self._since
        self._since = now
