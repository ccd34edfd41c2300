"""The training loop. There is one: teachers, the no-KD baseline and every method run through it.

It decides what is computed, in which order, and what is on the train clock. Storing, printing and surviving are the
observer's (`isoclock.runner.session`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor

from isoclock.data.loading.waiting import Stopped
from isoclock.training.anchor import AnchorTimes
from isoclock.training.batches import check_loading, pretraining_batches, training_batches
from isoclock.training.clock import Clock
from isoclock.training.device import synchroniser
from isoclock.training.schedule import poly_lr
from isoclock.training.warm_up import is_worthwhile, warm_up

if TYPE_CHECKING:
    from isoclock.data.loading.prepared import PreparedData
    from isoclock.training.step import TrainingStep

LOG_EVERY = 20  # iterations; the device is waited for only there

Status = Literal["finished", "stopped", "diverged"]
Batches = Iterable[Mapping[str, Tensor]]


@dataclass(frozen=True)
class Sources:
    """Where a run's batches come from, and what it measures off the train clock."""

    open_batches: Callable[[int], Batches]  # from that iteration on
    open_pretraining: Callable[[int], Batches] | None = None  # from that step of a pre-training on
    evaluate: Callable[[], dict[str, Any]] | None = None  # {"miou", "per_class"} of the student as it is
    measure_anchor: Callable[[], float] | None = None  # seconds of an anchor step, now


class Observer(Protocol):
    """What the loop reports to. It changes no weight and no random state; `save` is off the train clock, the rest is on it."""

    def stop_requested(self) -> bool:
        """Whether the run is to stop after this iteration."""

    def stepped(self) -> None:
        """An iteration, or a step of the pre-training, is done."""

    def pretraining_logged(self, loss: float, terms: dict[str, float]) -> None:
        """Loss of the last step of the pre-training; the run ends if it is not finite."""

    def logged(self, loss: float, terms: dict[str, float], lr: float) -> None:
        """Mean loss since it was last logged, and terms of the last iteration; the run ends if the loss is not finite."""

    def evaluated(self, scores: dict[str, Any], seconds: float) -> None:
        """What the evaluation found, and how long it took."""

    def anchor_measured(self, seconds: float) -> None:
        """Seconds of an anchor step at this point of the train clock."""

    def save_is_due(self) -> bool:
        """Whether to save now."""

    def may_save(self) -> None:
        """Called before each save. Raises if another process owns the run."""

    def save(self, status: Status | None) -> None:
        """Save the state; `status` is how the segment ended, None if it goes on."""

    def saved(self, seconds: float) -> None:
        """The state is saved; it took that long."""


class TrainingLoop:
    """Trains one network for exactly `iterations`, over as many segments as it takes.

    A segment ends at the last iteration, at a stop request (saved first) or at a loss that is not finite. On the CPU with the
    same threads a run that continues from `state_dict` ends with the same bits as one that was not interrupted.
    """

    def __init__(self, step: TrainingStep, iterations: int, sources: Sources) -> None:
        self.step, self.iterations, self.sources = step, iterations, sources
        self.recipe = step.recipe
        self.clock = Clock(synchroniser(step.device))
        self.iteration = 0
        self.pretrained = 0  # pre-training steps that are done
        self._observer: Observer
        self._warm = not is_worthwhile(step)
        self._anchor_times = AnchorTimes(iterations)
        count = self.recipe.evaluations
        self._evaluations = {round(iterations * k / count) for k in range(1, count + 1)}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next iterations depend on: networks, optimisers, random state, counters."""
        return {
            "student": self.step.student.state_dict(),
            "method": self.step.method.state_dict(),
            "optimiser": self.step.optimiser.state_dict(),
            "scaler": self.step.scaler.state_dict(),  # empty but for fp16
            "random": _random_state(self.step.device),
            "iteration": self.iteration,
            "pretrained": self.pretrained,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.step.student.load_state_dict(state["student"])
        self.step.method.load_state_dict(state["method"])
        self.step.optimiser.load_state_dict(state["optimiser"])
        self.step.scaler.load_state_dict(state["scaler"])
        self.iteration, self.pretrained = state["iteration"], state["pretrained"]
        _restore_random_state(state["random"], self.step.device)

    def run(self, observer: Observer) -> Status:
        """Train until the end, a stop request or divergence. Returns which of them it was."""
        self._observer = observer
        self._anchor_times.start()
        status: Status = "stopped"
        with suppress(Stopped):  # a stop request while it waits for a batch, between two iterations
            self._measure_anchor()
            with self.clock.running("train"):
                pretrained = self._pretrain()
                status = self._train() if pretrained == "finished" else pretrained
            if status != "stopped":
                self._measure_anchor()
        self._save(status)
        return status

    def _pretrain(self) -> Status:
        """What is left of the method's pre-training, within the budget as everything else."""
        total = self.step.method.pretrain_iterations
        if self.pretrained >= total:
            return "finished"
        assert self.sources.open_pretraining is not None
        for batch in self._opened(self.sources.open_pretraining, self.pretrained):
            result = self.step.pretrain(batch, 1 - self.pretrained / total)
            self.pretrained = at = self.pretrained + 1
            self._observer.stepped()
            if at % LOG_EVERY == 0 or at == total or self._observer.stop_requested():
                loss = float(result.total)
                self._observer.pretraining_logged(loss, _floats(result.terms))
                if not math.isfinite(loss):
                    return "diverged"
            if self._observer.stop_requested():
                return "stopped"
            if at == total:
                break
            self._save_if_due()
        return "finished"

    def _train(self) -> Status:
        losses: list[Tensor] = []
        batches = self._opened(self.sources.open_batches, self.iteration) if self.iteration < self.iterations else ()
        for batch in batches:
            recipe, progress = self.recipe, self.iteration / self.iterations
            lr = poly_lr(progress, lr=recipe.lr, power=recipe.poly_power, min_lr=recipe.min_lr)
            result = self.step(batch, lr)
            losses.append(result.total)
            self.iteration = at = self.iteration + 1
            self._observer.stepped()
            at_end = at == self.iterations
            if at % LOG_EVERY == 0 or at_end or self._observer.stop_requested():
                loss = float(torch.stack(losses).mean())
                losses.clear()
                self._observer.logged(loss, _floats(result.terms), lr)
                if not math.isfinite(loss):
                    return "diverged"
            if at in self._evaluations:
                self._evaluate()
            if self._observer.stop_requested() and not at_end:
                return "stopped"
            if not at_end:
                if self._anchor_times.is_due(at):
                    self._measure_anchor()
                self._save_if_due()
        return "finished"

    def _opened(self, open_batches: Callable[[int], Batches], start: int) -> Batches:
        """Batches from `start` on. Off the train clock, loader processes start, and the step warms up on the first batch."""
        with self.clock.running(None):
            batches = iter(open_batches(start))
            first = next(batches)
            if not self._warm:
                warm_up(self.step, first, self.state_dict, self.load_state_dict)
                self._warm = True
        return itertools.chain([first], batches)

    def _evaluate(self) -> None:
        if self.sources.evaluate is None:
            return
        with self.clock.running("evaluate"):
            before = self.clock.read()["evaluate"]
            scores = self.sources.evaluate()
            spent = self.clock.read()["evaluate"] - before
        self._observer.evaluated(scores, spent)

    def _measure_anchor(self) -> None:
        if self.sources.measure_anchor is None:
            return
        with self.clock.running(None), self._anchor_times.measuring():
            seconds = self.sources.measure_anchor()
        self._observer.anchor_measured(seconds)

    def _save_if_due(self) -> None:
        if self._observer.save_is_due():
            if self._anchor_times.allow_another(self.iteration):
                self._measure_anchor()
            self._save(None)

    def _save(self, status: Status | None) -> None:
        self._observer.may_save()
        with self.clock.running("io"):
            before = self.clock.read()["io"]
            self._observer.save(status)
            spent = self.clock.read()["io"] - before
        self._observer.saved(spent)


def training_loop(
    step: TrainingStep,
    data: PreparedData,
    *,
    seed: int,
    iterations: int,
    evaluate: Callable[[], dict[str, Any]] | None = None,
    measure_anchor: Callable[[], float] | None = None,
) -> TrainingLoop:
    """The loop of a run on a prepared data set, whose batches follow from `seed`.

    Raises UserError where this machine cannot run the recipe's loader processes.
    """
    check_loading(step.recipe)
    sources = Sources(
        lambda at: training_batches(data, step.recipe, seed, step.device, start=at, iterations=iterations - at),
        lambda at: pretraining_batches(data, step.recipe, seed, step.device, start=at),
        evaluate,
        measure_anchor,
    )
    return TrainingLoop(step, iterations, sources)


def _floats(terms: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in terms.items()}


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _restore_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
