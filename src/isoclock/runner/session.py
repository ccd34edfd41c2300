"""One segment of a run, between its start and its end in this process: resume, record, save, stop.

The training loop decides the numbers; a session observes it. It writes ledger, progress file and checkpoints, and turns a
stop signal into a saved state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoclock.data.loading.waiting import stopped_by
from isoclock.progress import ProgressLine
from isoclock.runner import checkpoint
from isoclock.runner.ledger import Ledger
from isoclock.runner.progress_file import ProgressFile, truncated
from isoclock.runner.stop import StopSignal
from isoclock.runner.system import SystemSampler
from isoclock.runner.totals import Totals, read_totals
from isoclock.training.loop import LOG_EVERY

if TYPE_CHECKING:
    from isoclock.training.clock import Name
    from isoclock.training.loop import Status, TrainingLoop

SAVING_SHARE = 0.005  # of train time, between two checkpoints: with the first and the last one it stays below 1 %


@dataclass
class State:
    """What a run has come to, as a checkpoint keeps it next to the tensors."""

    run_id: str = ""  # of run.json: a checkpoint of another run is not continued
    iteration: int = 0
    pretrained: int = 0  # pre-training steps that are done
    best: dict[str, Any] | None = None
    message: str = ""  # why it diverged
    segments: list[dict[str, Any]] = field(default_factory=list)
    lost_s: float = 0.0  # train time of killed segments after their last checkpoint


@dataclass(frozen=True)
class Outcome:
    """How a segment of a run ended."""

    status: Status
    state: State
    clock: dict[Name, float]


class Session:
    """Observes a training loop: continues it from the newest good checkpoint in `folder`, and keeps it from being lost.

    `may_write` raises if another process owns the run by now. `describe` gives method, crop, batch and peak memory, for
    messages.
    """

    def __init__(
        self,
        loop: TrainingLoop,
        folder: Path,
        ledger: Ledger,
        run_id: str = "",
        *,
        may_write: Callable[[], None] | None = None,
        describe: Callable[[], str] | None = None,
    ) -> None:
        self.loop, self.folder, self.ledger, self.state = loop, folder, ledger, State(run_id)
        self.before = Totals()  # of the ledger, when `resume` read it
        self._may_write, self._describe = may_write, describe
        self._progress_file = ProgressFile(folder)
        self._save_s = 0.0  # what the last checkpoint took

    def resume(self) -> list[str]:
        """Load the newest good checkpoint, if any. Returns complaints about damaged ones, and about the ledger."""
        clock = self.loop.clock
        found = checkpoint.load_newest(self.folder, self.state.run_id)
        complaints = [] if found is None else list(found.complaints)
        self.before = before = read_totals(self.ledger.path, complaints)
        if found is not None and found.state:
            self.loop.load_state_dict(found.state)
            # A checkpoint cannot know what it took to write it.
            self._save_s = before.last_save_s
            clock.restore({**found.state["clock"], "io": before.saves_s})
            self.state = State(**found.state["run"])
        last = self._progress_file.read()
        if last is not None and before.logged_s is not None and last[1] > max(before.logged_s, clock.train_s):
            self.ledger.append("progress", last[0], train_s=last[1])
            before.logged_s = last[1]
        self._progress_file.write(self.state.iteration, clock.train_s)  # what it said is in the ledger now
        self.state.lost_s = before.lost_until(clock.train_s)
        return complaints

    def ended(self) -> Status | None:
        """How the run ended (finished, diverged), in an earlier segment; None if there is more to do."""
        statuses: tuple[Status, ...] = ("finished", "diverged")
        last = self.state.segments[-1]["ended"] if self.state.segments else "killed"
        return next((status for status in statuses if status == last), None)

    def outcome(self, status: Status) -> Outcome:
        """The run as it is now."""
        return Outcome(status, self.state, self.loop.clock.read())

    def run(self, segment: dict[str, Any], title: str) -> Outcome:
        """Train until the end, a stop signal or divergence. `segment` says what this one runs on; it is completed here."""
        self._segment = {**segment, "first_iteration": self.state.iteration, "anchors": []}
        self._started_at_s = self._saved_at_s = self.loop.clock.train_s
        self._system = SystemSampler(self.loop.step.device)
        # The last save is under StopSignal too: a second signal (SLURM sends one to each process of a job) must not break it.
        with StopSignal() as self._stop, stopped_by(self.stop_requested), ProgressLine(title) as self._line:
            self._line.start_at(self.state.iteration)
            self._line.note(self.state.iteration, self.loop.iterations)
            status = self.loop.run(self)
        self._progress_file.close()
        if status == "stopped":
            self.ledger.append("stop", self.state.iteration, reason=self._stop.reason)
        elif status == "diverged":
            self.ledger.append("diverged", self.state.iteration, message=self.state.message)
        else:
            self.ledger.append("finish", self.state.iteration)
        self.ledger.sync()
        return self.outcome(status)

    @property
    def checkpoint_every_s(self) -> float:
        """Train time between two checkpoints: the recipe's, or longer, so that saving stays a small share of training."""
        return max(self.loop.recipe.checkpoint_every_s, self._save_s / SAVING_SHARE)

    # What the loop calls, see `isoclock.training.loop.Observer`.

    def stop_requested(self) -> bool:
        """Whether a stop signal came."""
        return self._stop.reason is not None

    def stepped(self) -> None:
        """Write the progress file."""
        self.state.iteration, self.state.pretrained = self.loop.iteration, self.loop.pretrained
        self._progress_file.write(self.state.iteration, self.loop.clock.train_s)
        if self.state.iteration:
            self._line.note(self.state.iteration, self.loop.iterations)

    def pretraining_logged(self, loss: float, terms: dict[str, float]) -> None:
        """Write a line of the ledger, show it, and say why if the loss is not finite."""
        at = self.state.pretrained
        self.ledger.append("pretrain", 0, step=at, loss=loss, terms=terms, train_s=self._train_s())
        self._line.update(at, self.loop.step.method.pretrain_iterations, f"pre-training, loss {loss:.3f}")
        if not math.isfinite(loss):
            self.state.message = f"loss of the pre-training is {loss} at its step {at}{self._about()}"

    def logged(self, loss: float, terms: dict[str, float], lr: float) -> None:
        """Write a line of the ledger, show it, and say why if the loss is not finite."""
        at = self.state.iteration
        self.ledger.append("train", at, loss=loss, terms=terms, lr=lr, train_s=self._train_s())
        if sample := self._system.due():
            self.ledger.append("system", at, **sample)
        self._line.update(at, self.loop.iterations, f"loss {loss:.3f}, lr {lr:.4f}")
        if not math.isfinite(loss):
            self.state.message = self._divergence(loss, terms)

    def evaluated(self, scores: dict[str, Any], seconds: float) -> None:
        """Remember the best score, and write a line of the ledger."""
        if scores["miou"] is not None and (self.state.best is None or scores["miou"] > self.state.best["miou"]):
            self.state.best = {"iteration": self.state.iteration, "miou": scores["miou"]}
        self.ledger.append("evaluate", self.state.iteration, **scores, evaluate_s=round(seconds, 4))

    def anchor_measured(self, seconds: float) -> None:
        """Add it to the segment, and write a line of the ledger."""
        self._segment["anchors"].append([self.loop.clock.train_s - self._started_at_s, seconds])
        self.ledger.append("anchor", self.state.iteration, anchor_s=seconds)

    def save_is_due(self) -> bool:
        """Whether the last checkpoint is `checkpoint_every_s` ago."""
        return self.loop.clock.train_s - self._saved_at_s >= self.checkpoint_every_s

    def may_save(self) -> None:
        """Raise if another process owns the run."""
        if self._may_write is not None:
            self._may_write()

    def save(self, status: Status | None) -> None:
        """Write a checkpoint. Without a status it says `killed`: so the next segment finds it if this one ends unseen."""
        clock = self.loop.clock.read()
        self._saved_at_s = clock["train"]
        done = {
            **self._segment,
            "train_s": clock["train"] - self._started_at_s,
            "iterations": self.state.iteration - self._segment["first_iteration"],
            "ended": status or "killed",
            "not_compiled": self.loop.step.compiler.not_compiled,
        }
        before = [other for other in self.state.segments if other["started_unix"] != done["started_unix"]]
        self.state.segments = [*before, done]
        state = {**self.loop.state_dict(), "clock": clock, "run": vars(self.state)}
        self._bytes = checkpoint.save(self.folder, self.state.pretrained + self.state.iteration, state)

    def saved(self, seconds: float) -> None:
        """Write a line of the ledger, and wait until it is on disk."""
        self._save_s = seconds
        self.ledger.append("checkpoint", self.state.iteration, io_s=round(seconds, 4), bytes=self._bytes)
        self.ledger.sync()

    def _train_s(self) -> float:
        return truncated(self.loop.clock.read()["train"])

    def _divergence(self, loss: float, terms: dict[str, float]) -> str:
        weights = self.loop.step.weights
        bad = sorted(name for name, value in terms.items() if not math.isfinite(value * weights.get(name, 1.0)))
        where = f"; not finite: {', '.join(bad)}" if bad else ""
        last = ", ".join(f"{name} {value:.3g}" for name, value in terms.items())
        span = f"in the {LOG_EVERY} iterations up to {self.state.iteration}"
        return f"loss is {loss} {span}{where}; last terms: {last}{self._about()}"

    def _about(self) -> str:
        return f" ({self._describe()})" if self._describe else ""
