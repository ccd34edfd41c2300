"""The training loop. There is one: teachers, the no-KD baseline and every method run through it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isoclock.progress import ProgressLine
from isoclock.runner import checkpoint
from isoclock.runner.ledger import Ledger, read_ledger
from isoclock.runner.progress_file import Pulse, floored, last_sign, lost_s
from isoclock.runner.stop import StopSignal
from isoclock.training.anchor import AnchorTimes
from isoclock.training.clock import Clock, Name
from isoclock.training.device import synchroniser
from isoclock.training.schedule import poly_lr
from isoclock.training.step import TrainingStep

LOG_EVERY = 20  # iterations; the device is waited for only there
SAVING_SHARE = 0.005  # of train time, between two checkpoints: with the first and the last one it stays below 1 %


@dataclass(frozen=True)
class Hooks:
    """What the loop calls off the train clock."""

    open_stream: Callable[[int], Iterable[Mapping[str, Tensor]]]  # batches from that iteration on
    evaluate: Callable[[], dict[str, Any]] | None = None  # {"miou", "per_class"} of the student as it stands
    measure_anchor: Callable[[], float] | None = None  # seconds of an anchor step, now
    open_pretraining: Callable[[int], Iterable[Mapping[str, Tensor]]] | None = None  # batches of a pre-training
    may_write: Callable[[], None] | None = None  # raises if the run is another process's by now
    describe: Callable[[], str] | None = None  # method, crop, batch and peak memory, for messages


@dataclass
class State:
    """What travels in a checkpoint beside the tensors."""

    iteration: int = 0
    pretrained: int = 0  # pre-training steps that are done
    best: dict[str, Any] | None = None
    message: str = ""  # why it diverged
    segments: list[dict[str, Any]] = field(default_factory=list)
    lost_s: float = 0.0  # train time of killed segments after their last checkpoint


@dataclass(frozen=True)
class Outcome:
    """How a segment of a run ended."""

    status: str  # finished | stopped | diverged
    state: State
    clock: dict[Name, float]


class Engine:
    """Trains one network for exactly `iterations`, over as many segments as it takes.

    A segment starts from the newest good checkpoint in `folder`, ends at the last iteration, at a stop signal (saved first)
    or at a loss that is not finite, and leaves a trace in the ledger. On the CPU with the same threads a run that was
    interrupted ends with the same bits as one that was not.
    """

    def __init__(self, step: TrainingStep, iterations: int, folder: Path, ledger: Ledger, hooks: Hooks) -> None:
        self.step, self.iterations, self.folder, self.ledger, self.hooks = step, iterations, folder, ledger, hooks
        self.recipe = step.recipe
        self.clock = Clock(synchroniser(step.device))
        self.state = State()
        self._pulse = Pulse(folder)
        self._logged_terms: dict[str, Tensor] = {}
        self._save_s = 0.0  # what the last checkpoint took
        self._anchor_times = AnchorTimes(iterations)
        count = self.recipe.evaluations
        self._evaluations = {round(iterations * k / count) for k in range(1, count + 1)}

    def resume(self) -> list[str]:
        """Load the newest good checkpoint, if any. Returns complaints about damaged ones."""
        found = checkpoint.load_newest(self.folder, self.step.device)
        events = read_ledger(self.ledger.path)
        if found is not None and found.state:
            self.step.student.load_state_dict(found.state["student"])
            self.step.method.load_state_dict(found.state["method"])
            self.step.optimiser.load_state_dict(found.state["optimiser"])
            # A checkpoint cannot know what it took to write it.
            saves_s = [event["io_s"] for event in events if event["event"] == "checkpoint"]
            self._save_s = saves_s[-1] if saves_s else 0.0
            self.clock.restore({**found.state["clock"], "io": sum(saves_s)})
            self.state = State(**found.state["run"])
            _restore_random_state(found.state["random"], self.step.device)
        if (sign := last_sign(self._pulse, events)) is not None and sign[1] > self.clock.train_s:
            self.ledger.append("pulse", sign[0], train_s=sign[1])
            events = read_ledger(self.ledger.path)
        self._pulse.beat(self.state.iteration, self.clock.train_s)  # told, and not to be told again
        self.state.lost_s = lost_s(events, self.clock.train_s)
        return found.complaints if found is not None else []

    def outcome(self, status: str) -> Outcome:
        """The run as it stands now."""
        return Outcome(status, self.state, self.clock.read())

    def run(self, segment: dict[str, Any], title: str) -> Outcome:
        """Train until the end, a stop signal or divergence. `segment` says what this one runs on; it is completed here."""
        segment = {**segment, "first_iteration": self.state.iteration, "anchors": []}
        with StopSignal() as stop, ProgressLine(title) as progress:
            train_s_before = self.clock.train_s
            self._anchor_times.start()
            self._measure_anchor(segment, train_s_before)
            self._saved_at_s = train_s_before
            progress.start_at(self.state.iteration)
            with self.clock.running("train"):
                status = self._pretrain(stop, progress, lambda: self._checkpoint_if_due(segment, train_s_before))
                losses: list[Tensor] = []
                for batch in self._batches() if status == "finished" else ():
                    at = self.state.iteration
                    lr = poly_lr(
                        at / self.iterations, lr=self.recipe.lr, power=self.recipe.poly_power, min_lr=self.recipe.min_lr
                    )
                    result = self.step(batch, lr)
                    losses.append(result.total)
                    self._logged_terms = result.terms
                    self.state.iteration = at = at + 1
                    self._pulse.beat(at, self.clock.train_s)
                    at_end = at == self.iterations
                    if at % LOG_EVERY == 0 or at_end or stop.reason:
                        loss = float(torch.stack(losses).mean())
                        losses.clear()
                        self._log(loss, lr)
                        progress.update(at, self.iterations, f"loss {loss:.3f}, lr {lr:.4f}")
                        if not math.isfinite(loss):
                            status, self.state.message = "diverged", self._divergence(loss)
                            break
                    if self._evaluation_due(at):
                        self._evaluate()
                    if stop.reason and not at_end:
                        status = "stopped"
                        break
                    if not at_end:
                        if self._anchor_times.is_due(at):
                            self._measure_anchor(segment, train_s_before)
                        self._checkpoint_if_due(segment, train_s_before)
            # Still under StopSignal: a second signal (SLURM sends one to each process of a job) may not break the save.
            if status != "stopped":
                self._measure_anchor(segment, train_s_before)
            self._save(segment, train_s_before, ended=status)
        self._pulse.close()
        if status == "stopped":
            self.ledger.append("stop", self.state.iteration, reason=stop.reason)
        elif status == "diverged":
            self.ledger.append("diverged", self.state.iteration, message=self.state.message)
        else:
            self.ledger.append("finish", self.state.iteration)
        self.ledger.sync()
        return self.outcome(status)

    def _pretrain(self, stop: StopSignal, progress: ProgressLine, checkpoint_if_due: Callable[[], None]) -> str:
        """What is left of the method's pre-training, within the budget as everything else. Returns how it ended."""
        total = self.step.method.pretrain_iterations
        if self.state.pretrained >= total:
            return "finished"
        assert self.hooks.open_pretraining is not None
        for batch in self.hooks.open_pretraining(self.state.pretrained):
            result = self.step.pretrain(batch, 1 - self.state.pretrained / total)
            self.state.pretrained = at = self.state.pretrained + 1
            self._pulse.beat(0, self.clock.train_s)
            if at % LOG_EVERY == 0 or at == total or stop.reason:
                loss = float(result.total)
                terms = {name: float(value) for name, value in result.terms.items()}
                self.ledger.append("pretrain", 0, step=at, loss=loss, terms=terms, train_s=self._train_s())
                progress.update(at, total, f"pre-training, loss {loss:.3f}")
                if not math.isfinite(loss):
                    self.state.message = f"loss of the pre-training is {loss} at its step {at}{self._about()}"
                    return "diverged"
            if stop.reason:
                return "stopped"
            if at == total:
                break
            checkpoint_if_due()
        progress.start_at(self.state.iteration)
        return "finished"

    @property
    def checkpoint_every_s(self) -> float:
        """Train time between two checkpoints: the recipe's, or longer, so that saving stays a small share of training."""
        return max(self.recipe.checkpoint_every_s, self._save_s / SAVING_SHARE)

    def _checkpoint_if_due(self, segment: dict[str, Any], train_s_before: float) -> None:
        if self.clock.train_s - self._saved_at_s >= self.checkpoint_every_s:
            if self._anchor_times.allow_another(self.state.iteration):
                self._measure_anchor(segment, train_s_before)
            self._save(segment, train_s_before)

    def _train_s(self) -> float:
        return floored(self.clock.read()["train"])

    def _batches(self) -> Iterable[Mapping[str, Tensor]]:
        return self.hooks.open_stream(self.state.iteration) if self.state.iteration < self.iterations else ()

    def _log(self, loss: float, lr: float) -> None:
        terms = {name: float(value) for name, value in self._logged_terms.items()}
        self.ledger.append("train", self.state.iteration, loss=loss, terms=terms, lr=lr, train_s=self._train_s())

    def _divergence(self, loss: float) -> str:
        terms = {name: float(value) for name, value in self._logged_terms.items()}
        bad = sorted(
            name for name, value in terms.items() if not math.isfinite(value * self.step.weights.get(name, 1.0))
        )
        where = f"; not finite: {', '.join(bad)}" if bad else ""
        last = ", ".join(f"{name} {value:.3g}" for name, value in terms.items())
        span = f"in the {LOG_EVERY} iterations up to {self.state.iteration}"
        return f"loss is {loss} {span}{where}; last terms: {last}{self._about()}"

    def _about(self) -> str:
        return f" ({self.hooks.describe()})" if self.hooks.describe else ""

    def _evaluation_due(self, at: int) -> bool:
        return self.hooks.evaluate is not None and at in self._evaluations

    def _evaluate(self) -> None:
        assert self.hooks.evaluate is not None
        with self.clock.running("evaluate"):
            before = self.clock.read()["evaluate"]
            scores = self.hooks.evaluate()
            spent = self.clock.read()["evaluate"] - before
        if scores["miou"] is not None and (self.state.best is None or scores["miou"] > self.state.best["miou"]):
            self.state.best = {"iteration": self.state.iteration, "miou": scores["miou"]}
        self.ledger.append("evaluate", self.state.iteration, **scores, evaluate_s=round(spent, 4))

    def _measure_anchor(self, segment: dict[str, Any], train_s_before: float) -> None:
        if self.hooks.measure_anchor is None:
            return
        with self.clock.running(None), self._anchor_times.measuring():
            seconds = self.hooks.measure_anchor()
        segment["anchors"].append([self.clock.train_s - train_s_before, seconds])
        self.ledger.append("anchor", self.state.iteration, anchor_s=seconds)

    def _save(self, segment: dict[str, Any], train_s_before: float, ended: str = "killed") -> None:
        """Save everything a next segment needs. `ended` is what that one will find said of this one."""
        if self.hooks.may_write is not None:
            self.hooks.may_write()
        with self.clock.running("io"):
            clock = self.clock.read()
            self._saved_at_s = clock["train"]
            done = {
                **segment,
                "train_s": clock["train"] - train_s_before,
                "iterations": self.state.iteration - segment["first_iteration"],
                "ended": ended,
            }
            segments = [*(s for s in self.state.segments if s["started_unix"] != segment["started_unix"]), done]
            self.state.segments = segments
            size = checkpoint.save(
                self.folder,
                self.state.pretrained + self.state.iteration,
                {
                    "student": self.step.student.state_dict(),
                    "method": self.step.method.state_dict(),
                    "optimiser": self.step.optimiser.state_dict(),
                    "clock": clock,
                    "run": vars(self.state),
                    "random": _random_state(self.step.device),
                },
            )
            spent = self._save_s = self.clock.read()["io"] - clock["io"]
        self.ledger.append("checkpoint", self.state.iteration, io_s=round(spent, 4), bytes=size)
        self.ledger.sync()


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _restore_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
