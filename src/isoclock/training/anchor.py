"""The anchor-step: one student-only training step of the same pair, data and precision. The unit of every budget."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from isoclock.training.device import synchroniser
from isoclock.training.step import no_mark

if TYPE_CHECKING:
    from isoclock.data.loading.stream import TrainingStream
    from isoclock.training.step import Mark, TrainingStep


class StepBench:
    """Runs steps that are not kept, and times them between synchronisations."""

    def __init__(self, step: TrainingStep, stream: TrainingStream) -> None:
        self.step, self.stream = step, stream
        self._synchronise = synchroniser(step.device)

    def run(self, steps: int, mark: Mark = no_mark, *, pretraining: bool = False) -> float:
        """Do that many steps (of training, or of the method's pre-training), waiting for data included.

        Returns seconds a step.
        """
        self._synchronise()
        started = time.perf_counter()
        for _ in range(steps):
            batch = next(self.stream)
            mark("data")
            if pretraining:
                self.step.pretrain(batch, 1e-3, mark)
            else:
                self.step(
                    batch, self.step.recipe.lr * 1e-3, mark
                )  # a small rate, so that random data does not make it diverge
        self._synchronise()
        return (time.perf_counter() - started) / steps


def anchor_steps(train_s: float, anchors: Sequence[Sequence[float]]) -> float | None:
    """What `train_s` seconds of a segment were worth in anchor-steps; None where nothing was measured.

    `anchors` holds (train time, seconds of an anchor step) pairs in order. Between two of them the rate is the mean of theirs,
    before the first and after the last it is that one's, so that a slowdown by other processes is not counted as work.
    """
    if not anchors:
        return None
    times = [0.0, *(at for at, _ in anchors), train_s]
    rates = [1 / anchors[0][1], *(1 / seconds for _, seconds in anchors), 1 / anchors[-1][1]]
    spans = zip(itertools.pairwise(times), itertools.pairwise(rates), strict=True)
    return sum(max(0.0, end - begin) * (first + second) / 2 for (begin, end), (first, second) in spans)


class AnchorTimes:
    """When anchor-steps are measured in a segment of a run: at its start and end, at a quarter, half and three quarters of the
    iterations, and at checkpoints as long as all of it takes at most `share` of the segment's wall time.
    """

    def __init__(self, iterations: int, *, share: float = 0.05, now: Callable[[], float] = time.perf_counter) -> None:
        self.marks = sorted({iterations * quarter // 4 for quarter in (1, 2, 3)} - {0})
        self.share, self._now = share, now
        self._spent_s: list[float] = []
        self._started_s = now()

    def start(self) -> None:
        """A segment begins."""
        self._spent_s, self._started_s = [], self._now()

    def is_due(self, iteration: int) -> bool:
        """Whether every run is measured after that iteration."""
        return iteration in self.marks

    def allow_another(self, iteration: int) -> bool:
        """Whether one more measurement leaves the share for those that every run still has after that iteration."""
        if not self._spent_s:
            return True
        to_come = 1 + sum(mark > iteration for mark in self.marks)  # the last one is at the end
        expected_s = sum(self._spent_s) + (1 + to_come) * statistics.median(self._spent_s)
        return expected_s <= self.share * (self._now() - self._started_s)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Count the time that a measurement takes."""
        started_s = self._now()
        yield
        self._spent_s.append(self._now() - started_s)


class AnchorMeter:
    """Measures anchor steps in the middle of a run, without touching the run's weights or random state."""

    def __init__(
        self,
        open_bench: Callable[[], StepBench],
        device: torch.device,
        *,
        warmup: int = 1,
        windows: int = 3,
        steps: int = 2,
    ) -> None:
        self._open_bench = open_bench
        self._devices = (
            [device] if device.type == "cuda" else []
        )  # whose random state is kept, in addition to the host's
        self._bench: StepBench | None = None
        self.warmup, self.windows, self.steps = warmup, windows, steps

    def __call__(self) -> float:
        """Median seconds of an anchor step over a few windows."""
        with torch.random.fork_rng(self._devices):
            if self._bench is None:
                self._bench = self._open_bench()
            self._bench.run(self.warmup)
            return statistics.median(self._bench.run(self.steps) for _ in range(self.windows))
