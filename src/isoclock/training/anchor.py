"""The anchor-step: one student-only training step of the same pair, data and precision. The unit of every budget."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from isoclock.data.loading import TrainingStream
from isoclock.training.device import synchroniser
from isoclock.training.step import Mark, TrainingStep, no_mark


class StepBench:
    """Runs steps of a training step that nobody keeps, and times them between synchronisations."""

    def __init__(self, step: TrainingStep, stream: TrainingStream) -> None:
        self.step, self.stream = step, stream
        self._synchronise = synchroniser(step.device)

    def run(self, steps: int, mark: Mark = no_mark) -> float:
        """Do that many steps, waiting for data included; returns seconds a step."""
        self._synchronise()
        started = time.perf_counter()
        for _ in range(steps):
            batch = next(self.stream)
            mark("data")
            self.step(batch, self.step.recipe.lr * 1e-3, mark)  # a small rate: random data shall not blow it up
        self._synchronise()
        return (time.perf_counter() - started) / steps


class AnchorMeter:
    """Measures anchor steps in the middle of a run, without touching the run's weights or random state."""

    def __init__(
        self, open_bench: Callable[[], StepBench], *, warmup: int = 1, windows: int = 3, steps: int = 2
    ) -> None:
        self._open_bench = open_bench
        self._bench: StepBench | None = None
        self.warmup, self.windows, self.steps = warmup, windows, steps

    def __call__(self) -> float:
        """Median seconds of an anchor step over a few windows."""
        with torch.random.fork_rng():
            if self._bench is None:
                self._bench = self._open_bench()
            self._bench.run(self.warmup)
            return statistics.median(self._bench.run(self.steps) for _ in range(self.windows))
