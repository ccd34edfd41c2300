"""The anchor-step: one student-only training step of the same pair, data and precision. The unit of every budget."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence

import torch

from isoclock.data.loading import TrainingStream
from isoclock.training.device import synchroniser
from isoclock.training.step import Mark, TrainingStep, no_mark


class StepBench:
    """Runs steps of a training step that nobody keeps, and times them between synchronisations."""

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
                self.step(batch, self.step.recipe.lr * 1e-3, mark)  # a small rate: random data shall not blow it up
        self._synchronise()
        return (time.perf_counter() - started) / steps


def anchor_steps(train_s: float, anchors: Sequence[Sequence[float]]) -> float | None:
    """What `train_s` seconds of a segment were worth in anchor-steps; None where nothing was measured.

    `anchors` holds (train time, seconds of an anchor step) pairs in order. Between two of them the rate is the mean of theirs,
    before the first and after the last it is that one's: so a while in which a neighbour slowed everything down counts as such.
    """
    if not anchors:
        return None
    times = [0.0, *(at for at, _ in anchors), train_s]
    rates = [1 / anchors[0][1], *(1 / seconds for _, seconds in anchors), 1 / anchors[-1][1]]
    spans = zip(itertools.pairwise(times), itertools.pairwise(rates), strict=True)
    return sum(max(0.0, end - begin) * (first + second) / 2 for (begin, end), (first, second) in spans)


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
