from __future__ import annotations

import hashlib
import itertools
import math
import os
import random
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_segmenter import CPU, batches, training_step
from torch import Tensor

from isoclock.data.loading.ahead import CopiedAhead
from isoclock.data.loading.waiting import Stopped
from isoclock.runner import checkpoint
from isoclock.runner.ledger import Event, Ledger, read_ledger
from isoclock.runner.progress_file import ProgressFile
from isoclock.runner.session import Outcome, Session
from isoclock.training.compiling import Compiler
from isoclock.training.loop import Sources, TrainingLoop
from isoclock.training.schedule import poly_lr
from isoclock.training.step import TrainingStep

ITERATIONS = 30
PRETRAIN = 7
METHODS: dict[str, tuple[dict[str, float], dict[str, Any]]] = {
    "none": ({}, {}),
    "kd": ({"kd": 1.0}, {}),
    "fitnet": ({"fitnet": 1.0}, {}),
    "cwd": ({"cwd": 1.0}, {}),
    "mgd": ({"mgd": 1e-3, "cwd_logit": 1.0}, {}),
    # Banks, an adversary with an optimiser of its own, and a pre-training have to come through as well.
    "cirkd": ({"pixel_memory": 0.1, "region_memory": 0.1}, {"pixel_memory_size": 40, "region_memory_size": 10}),
    "crd": ({"crd": 0.1}, {"embedding": 8, "negatives": 12}),
    "skd": ({"holistic": 0.1}, {"conv_dim": 8, "optimiser": "adam", "adversary": "wgan-gp"}),
    "maskd": ({"maskd": 1.0}, {"pretrain_iterations": PRETRAIN}),
}
At = Callable[[int], None]


@pytest.fixture(autouse=True)
def as_often_as_the_recipe_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """These steps take less time than saving them; what that may cost has a test of its own."""
    monkeypatch.setattr("isoclock.runner.session.SAVING_SHARE", math.inf)


class Killed(BaseException):
    """Stands for `kill -9`: nothing of the session may run after it, and nothing does but `finally`."""


@dataclass
class Run:
    """A run's folder; each `segment` is a process of its own, as far as the session can see."""

    folder: Path
    method: str = "none"
    iterations: int = ITERATIONS
    changes: dict[str, Any] = field(default_factory=dict)
    evaluate: Callable[[], dict[str, Any]] | None = None
    measure_anchor: Callable[[], float] | None = None
    now: Callable[[], float] | None = None
    ahead: bool = False  # batches are copied ahead, as for a GPU
    poison: int | None = None  # the batch in which an image is not a number; below 0 one of the pre-training
    number: int = 0
    complaints: list[str] = field(default_factory=list)

    def segment(self, at: At = lambda _: None) -> tuple[Outcome, TrainingStep]:
        """Open everything anew and run; `at(number)` is called when batch `number` is asked for."""
        weights, params = METHODS[self.method]
        step = training_step(self.method, weights, params, **self.changes)
        random.seed(self.number)
        torch.manual_seed(1000 + self.number)  # what a new process has drawn before must not matter
        ledger = Ledger(self.folder / "ledger.jsonl")

        def stream(start: int) -> Iterator[Mapping[str, Tensor]]:
            for number, batch in enumerate(batches(start, self.iterations), start):
                at(number)
                if number == self.poison:
                    batch["images"][0, 0, 0, 0] = float("nan")
                yield batch

        def pretraining(start: int) -> Iterator[Mapping[str, Tensor]]:
            for number, batch in enumerate(batches(start, PRETRAIN), start):
                at(number - PRETRAIN)
                if number - PRETRAIN == self.poison:
                    batch["images"][0, 0, 0, 0] = float("nan")
                yield batch

        def opened(start: int) -> Iterator[Mapping[str, Tensor]]:
            return CopiedAhead(stream(start), CPU) if self.ahead else stream(start)

        sources = Sources(opened, pretraining, self.evaluate, self.measure_anchor)
        loop = TrainingLoop(step, self.iterations, sources)
        session = Session(loop, self.folder, ledger, describe=lambda: "crop 16x32")
        if self.now is not None:
            loop.clock._now = self.now
        self.complaints = session.resume()
        if self.number == 0:
            torch.manual_seed(5)  # a run's first segment starts where `assemble_step` leaves the random state
        ledger.append("start", loop.iteration, train_s=loop.clock.train_s)
        try:
            return session.run({"started_unix": float(self.number), "device_kind": "cpu:test"}, "test"), step
        finally:
            self.number += 1
            ledger.close()

    def killed(self, at: int) -> None:
        def kill(number: int) -> None:
            if number == at:
                raise Killed

        with pytest.raises(Killed):
            self.segment(kill)

    def stopped(self, at: int, signals: int = 1) -> Outcome:
        def terminate(number: int) -> None:
            if number == at:
                for _ in range(signals):
                    os.kill(os.getpid(), signal.SIGTERM)

        outcome, _ = self.segment(terminate)
        assert outcome.status == "stopped"
        return outcome

    @property
    def events(self) -> list[Event]:
        return read_ledger(self.folder / "ledger.jsonl")

    def logged(self, event: str) -> list[Event]:
        return [line for line in self.events if line["event"] == event]


def test_a_segment_names_what_could_not_be_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path)
    monkeypatch.setattr(Compiler, "not_compiled", ["kd: a reason"])
    outcome, _ = run.segment()
    assert outcome.state.segments[-1]["not_compiled"] == ["kd: a reason"]


def progress(run: Run) -> tuple[int, float]:
    found = ProgressFile(run.folder).read()
    assert found is not None
    return found


class Ticks:
    """A clock that moves one second with every look."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


def digest(step: TrainingStep) -> str:
    found = hashlib.sha256()
    for part in (step.student.state_dict(), step.method.state_dict()):
        for name, value in part.items():
            found.update(name.encode() + (value.numpy().tobytes() if isinstance(value, Tensor) else b""))
    return found.hexdigest()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [0, 1])
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path: Path, method: str, seed: int) -> None:
    whole, step = Run(tmp_path / "whole", method).segment()
    assert (whole.status, whole.state.iteration) == ("finished", ITERATIONS)

    run = Run(tmp_path / "cut", method)
    draw = random.Random(f"{method} {seed}")
    cuts = sorted(draw.sample(range(ITERATIONS - 1), 3))
    for cut in cuts:
        assert run.stopped(cut).state.iteration == cut + 1
    outcome, cut_step = run.segment()
    assert (outcome.status, outcome.state.iteration) == ("finished", ITERATIONS)
    assert digest(cut_step) == digest(step), f"stopped at {cuts}"
    assert step.method.state_dict().keys() == cut_step.method.state_dict().keys()
    assert run.logged("train")[-1]["lr"] == Run(tmp_path / "whole").logged("train")[-1]["lr"]


def test_a_run_in_fp16_continues_with_its_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first steps are skipped, then the scale grows every fourth step: a checkpoint has scale and countdown."""
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, init_scale=2.0**26, growth_interval=4))
    whole, cut = (Run(tmp_path / name, "kd", changes={"precision": "fp16"}) for name in ("whole", "cut"))
    _, step = whole.segment()
    for at in (2, 17):
        cut.stopped(at)
    _, cut_step = cut.segment()
    assert digest(cut_step) == digest(step)
    assert cut_step.scaler.state_dict() == step.scaler.state_dict()
    assert step.scaler.get_scale() < 2.0**26


def test_a_loss_that_is_not_finite_in_fp16_is_no_skipped_step(tmp_path: Path) -> None:
    outcome, _ = Run(tmp_path, "kd", poison=7, changes={"precision": "fp16"}).segment()
    assert outcome.status == "diverged"
    assert "loss is nan" in outcome.state.message


def test_a_batch_that_was_copied_ahead_of_a_stop_is_trained_on_after_it(tmp_path: Path) -> None:
    _, step = Run(tmp_path / "whole", "kd").segment()
    run = Run(tmp_path / "cut", "kd", ahead=True)
    assert run.stopped(8).state.iteration == 8, "batch 8 is on the device, and iteration 8 has not run"
    outcome, cut_step = run.segment()
    assert outcome.state.iteration == ITERATIONS
    assert digest(cut_step) == digest(step)


@pytest.mark.parametrize("at", [-PRETRAIN, -1, 0, 8])
def test_a_stop_while_a_batch_is_waited_for_is_saved(tmp_path: Path, at: int) -> None:
    _, step = Run(tmp_path / "whole", "maskd").segment()
    run = Run(tmp_path / "cut", "maskd")

    def waits(number: int) -> None:
        if number == at:
            raise Stopped

    outcome, _ = run.segment(waits)
    assert (outcome.status, outcome.state.iteration) == ("stopped", max(at, 0))
    assert outcome.state.pretrained == min(at, 0) + PRETRAIN
    outcome, cut_step = run.segment()
    assert outcome.status == "finished"
    assert digest(cut_step) == digest(step)


@pytest.mark.parametrize(("poison", "status"), [(None, "finished"), (1, "diverged")])
def test_a_stop_while_the_last_anchor_waits_changes_no_outcome(tmp_path: Path, poison: int | None, status: str) -> None:
    run = Run(tmp_path, iterations=2, poison=poison)

    def waits() -> float:
        if run.logged("train"):
            raise Stopped
        return 1.0

    run.measure_anchor = waits
    outcome, _ = run.segment()
    assert outcome.status == status


@pytest.mark.parametrize("cut", [-PRETRAIN, -PRETRAIN + 2, -1])
def test_a_pre_training_is_not_done_twice(tmp_path: Path, cut: int) -> None:
    _, step = Run(tmp_path / "whole", "maskd").segment()
    run = Run(tmp_path / "cut", "maskd")
    assert run.stopped(cut).state.pretrained == cut + PRETRAIN + 1
    outcome, cut_step = run.segment()
    assert (outcome.status, outcome.state.pretrained, outcome.state.iteration) == ("finished", PRETRAIN, ITERATIONS)
    assert digest(cut_step) == digest(step)
    assert run.logged("pretrain")[-1]["step"] == PRETRAIN


def test_a_killed_pre_training_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    _, step = Run(tmp_path / "whole", "maskd").segment()
    run = Run(tmp_path / "cut", "maskd", changes={"checkpoint_every_s": 1e-9})
    run.killed(-2)
    outcome, cut_step = run.segment()
    assert outcome.state.pretrained == PRETRAIN
    assert digest(cut_step) == digest(step)


def test_time_of_a_pre_training_is_train_time(tmp_path: Path) -> None:
    with_it, _ = Run(tmp_path / "maskd", "maskd", now=Ticks()).segment()
    without, _ = Run(tmp_path / "none", "none", now=Ticks()).segment()
    assert with_it.clock["train"] > without.clock["train"]


def test_weights_differ_where_the_method_or_the_length_does(tmp_path: Path) -> None:
    digests = {digest(Run(tmp_path / method, method).segment()[1]) for method in METHODS}
    digests.add(digest(Run(tmp_path / "longer", "kd", iterations=ITERATIONS + 1).segment()[1]))
    assert len(digests) == len(METHODS) + 1


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    _, step = Run(tmp_path / "whole", "mgd").segment()
    run = Run(tmp_path / "cut", "mgd", changes={"checkpoint_every_s": 1e-9})  # after every iteration
    run.killed(17)
    outcome, cut_step = run.segment()
    assert outcome.state.segments[0]["ended"] == "killed"
    assert [segment["iterations"] for segment in outcome.state.segments] == [17, ITERATIONS - 17]
    assert digest(cut_step) == digest(step)


def test_a_damaged_checkpoint_costs_time_and_no_bits(tmp_path: Path) -> None:
    _, step = Run(tmp_path / "whole", "kd").segment()
    run = Run(tmp_path / "cut", "kd")
    run.stopped(8)
    run.stopped(15)
    newest = sorted(run.folder.glob("checkpoint-*.pt"))[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    outcome, cut_step = run.segment()
    assert len(run.complaints) == 1
    assert digest(cut_step) == digest(step)
    assert [segment["iterations"] for segment in outcome.state.segments] == [9, ITERATIONS - 9]


def test_two_signals_do_not_break_the_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unguarded: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: unguarded.append(number))
    save = checkpoint.save

    def saved_under_fire(*arguments: Any) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return save(*arguments)

    try:
        monkeypatch.setattr(checkpoint, "save", saved_under_fire)
        Run(tmp_path / "stopped").stopped(3, signals=2)
        Run(tmp_path / "finished").segment()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert unguarded == []


def test_signals_are_the_callers_again_afterwards(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    Run(tmp_path).stopped(3)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_signal_in_the_last_iteration_finishes_the_run(tmp_path: Path) -> None:
    outcome, _ = Run(tmp_path).segment(
        lambda number: os.kill(os.getpid(), signal.SIGTERM) if number == ITERATIONS - 1 else None
    )
    assert outcome.status == "finished"


@pytest.mark.parametrize("poison", [0, 7, 22])
def test_divergence_is_a_result(tmp_path: Path, poison: int) -> None:
    run = Run(tmp_path, "kd", iterations=60, poison=poison)
    outcome, _ = run.segment()
    assert outcome.status == "diverged"
    assert poison < outcome.state.iteration <= poison + 20
    assert "loss is nan" in outcome.state.message
    assert "kd" in outcome.state.message
    assert run.logged("diverged")[0]["message"] == outcome.state.message
    assert run.logged("finish") == []
    assert outcome.state.segments[-1]["ended"] == "diverged"


def test_divergence_of_a_pre_training_is_a_result_with_its_figures(tmp_path: Path) -> None:
    run = Run(tmp_path, "maskd", poison=-2)
    outcome, _ = run.segment()
    assert (outcome.status, outcome.state.iteration) == ("diverged", 0)
    assert outcome.state.message == f"loss of the pre-training is nan at its step {PRETRAIN} (crop 16x32)"
    assert run.logged("diverged")[0]["message"] == outcome.state.message


def test_a_rate_that_is_too_large_diverges_in_order(tmp_path: Path) -> None:
    outcome, _ = Run(tmp_path, iterations=400, changes={"lr": 1e9, "min_lr": 1e8}).segment()
    assert outcome.status == "diverged"


def test_divergence_at_the_last_iteration_is_seen(tmp_path: Path) -> None:
    outcome, _ = Run(tmp_path, poison=ITERATIONS - 1).segment()
    assert (outcome.status, outcome.state.iteration) == ("diverged", ITERATIONS)


def test_the_schedule_ends_exactly(tmp_path: Path) -> None:
    rates: list[float] = []
    run = Run(tmp_path, iterations=10)
    original = TrainingStep.__call__

    def spied(self: TrainingStep, batch: Any, lr: float, *rest: Any) -> Any:
        rates.append(lr)
        return original(self, batch, lr, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", spied)
        run.stopped(4)
        run.segment()
    assert rates == [poly_lr(k / 10, lr=0.05, power=0.9) for k in range(10)]


@pytest.mark.parametrize(
    ("evaluations", "iterations", "expected"),
    [(0, 30, []), (1, 30, [30]), (2, 30, [15, 30]), (4, 10, [2, 5, 8, 10]), (5, 3, [1, 2, 3])],
)
def test_evaluations_come_where_they_are_planned(
    tmp_path: Path, evaluations: int, iterations: int, expected: list[int]
) -> None:
    scores = iter([0.5, 0.7, 0.6, 0.4, 0.1])
    run = Run(tmp_path, iterations=iterations, changes={"evaluations": evaluations})
    run.evaluate = lambda: {"miou": next(scores), "per_class": {"road": None}}
    outcome, _ = run.segment()
    assert [event["iteration"] for event in run.logged("evaluate")] == expected
    best = [{"iteration": at, "miou": miou} for at, miou in zip(expected, [0.5, 0.7], strict=False)]
    assert outcome.state.best == (best[-1] if best else None)


def test_the_machine_is_sampled_where_the_loss_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoclock.runner.system.EVERY_S", 0.0)
    run = Run(tmp_path)
    run.segment()
    logged, sampled = run.logged("train"), run.logged("system")
    assert [event["iteration"] for event in sampled] == [event["iteration"] for event in logged]
    assert sampled[0]["memory_mb"] >= sampled[0]["process_memory_mb"] > 0


def test_the_best_survives_a_stop(tmp_path: Path) -> None:
    scores = iter([0.7, 0.6])
    run = Run(tmp_path, changes={"evaluations": 2})
    run.evaluate = lambda: {"miou": next(scores), "per_class": {}}
    run.stopped(20)
    outcome, _ = run.segment()
    assert outcome.state.best == {"iteration": 15, "miou": 0.7}


def test_a_score_that_is_none_is_no_best(tmp_path: Path) -> None:
    run = Run(tmp_path, changes={"evaluations": 1}, evaluate=lambda: {"miou": None, "per_class": {}})
    assert run.segment()[0].state.best is None


def test_evaluation_saving_and_anchors_are_off_the_train_clock(tmp_path: Path) -> None:
    clock = Ticks()

    def pause(seconds: float) -> None:
        clock.now_s += seconds

    def evaluate() -> dict[str, Any]:
        pause(1e4)
        return {"miou": 0.5, "per_class": {}}

    def anchor() -> float:
        pause(1e6)
        return 0.125

    run = Run(tmp_path, changes={"evaluations": 2}, evaluate=evaluate, measure_anchor=anchor, now=clock)
    outcome, _ = run.segment()
    assert outcome.clock["train"] < 1e3
    assert 2e4 <= outcome.clock["evaluate"] < 2e4 + 100
    assert outcome.clock["io"] < 100
    assert [seconds for _, seconds in outcome.state.segments[0]["anchors"]] == [0.125] * 5, (
        "at the start, at three quarters between, and at the end"
    )
    assert outcome.state.segments[0]["train_s"] == outcome.clock["train"]


def test_measuring_the_anchor_does_not_move_a_bit(tmp_path: Path) -> None:
    from isoclock.training.anchor import AnchorMeter, StepBench

    _, step = Run(tmp_path / "without", "mgd").segment()
    meter = AnchorMeter(lambda: StepBench(training_step(), batches(0, 10_000)), CPU)  # type: ignore[arg-type]
    outcome, measured = Run(tmp_path / "with", "mgd", measure_anchor=meter).segment()
    assert digest(measured) == digest(step)
    assert all(seconds > 0 for _, seconds in outcome.state.segments[0]["anchors"])


def test_the_clock_is_carried_on(tmp_path: Path) -> None:
    run = Run(tmp_path, now=Ticks())
    first = run.stopped(9)
    second, _ = run.segment()
    parts = [segment["train_s"] for segment in second.state.segments]
    assert parts[0] == first.clock["train"]
    assert sum(parts) == second.clock["train"]
    assert second.clock["io"] > first.clock["io"], "the first segment's save counts"
    assert second.state.lost_s == 0.0
    assert [segment["ended"] for segment in second.state.segments] == ["stopped", "finished"]


def test_a_stop_loses_no_time(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for at in range(0, 20, 2):
        run.stopped(at)
    assert run.segment()[0].state.lost_s == 0.0


def test_time_of_a_killed_segment_is_counted_as_lost(tmp_path: Path) -> None:
    run = Run(tmp_path, iterations=100, now=Ticks())
    stopped = run.stopped(9)
    run.killed(75)  # the ledger has 20, 40 and 60, and the progress file has 75
    logged_s, last = run.logged("train")[-1]["train_s"], progress(run)
    assert last[0] == 75
    assert last[1] >= logged_s + 15, "an iteration takes at least a second of this clock"
    outcome, _ = run.segment()
    assert outcome.state.lost_s == pytest.approx(last[1] - stopped.clock["train"])
    assert outcome.state.iteration == 100
    (line,) = run.logged("progress")
    assert (line["iteration"], line["train_s"]) == last


def test_without_a_progress_file_the_ledger_counts(tmp_path: Path) -> None:
    run = Run(tmp_path, iterations=100, now=Ticks())
    run.killed(75)
    logged_s = run.logged("train")[-1]["train_s"]
    ProgressFile(tmp_path).path.write_text("")  # a power cut may leave it so
    assert run.segment()[0].state.lost_s == pytest.approx(logged_s)


def test_time_lost_twice_is_counted_twice(tmp_path: Path) -> None:
    run = Run(tmp_path, iterations=100, now=Ticks())
    lost_s = []
    for at in (
        50,
        30,
        5,
        0,
    ):  # before iteration 20 the ledger has none, and of a start that trains nothing there is nothing
        run.killed(at)
        lost_s.append(progress(run)[1])
    assert lost_s[2] > 0 == lost_s[3]
    outcome, _ = run.segment()
    assert outcome.state.lost_s == pytest.approx(sum(lost_s))
    assert len(run.logged("progress")) == 3


def test_lost_time_survives_later_segments(tmp_path: Path) -> None:
    run = Run(tmp_path, iterations=100, now=Ticks())
    run.killed(50)
    lost_s = progress(run)[1]
    run.stopped(30)
    assert run.segment()[0].state.lost_s == pytest.approx(lost_s)


def test_checkpoints_come_by_the_train_clock(tmp_path: Path) -> None:
    clock = Ticks()
    run = Run(tmp_path, now=clock, changes={"checkpoint_every_s": 5.0})
    run.segment()
    at = [event["iteration"] for event in run.logged("checkpoint")]
    assert len(at) > 3
    assert at[-1] == ITERATIONS
    assert at == sorted(set(at)), "the last iteration is saved once"
    assert len(list(tmp_path.glob("checkpoint-*.pt"))) == 2


def test_checkpoints_that_take_long_come_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoclock.runner.session.SAVING_SHARE", 0.25)
    clock, save = Ticks(), checkpoint.save

    def slow(*arguments: Any) -> int:
        clock.now_s += 10.0  # a large bank
        return save(*arguments)

    monkeypatch.setattr(checkpoint, "save", slow)
    run = Run(tmp_path, iterations=100, now=clock, changes={"checkpoint_every_s": 5.0})
    outcome, _ = run.segment()
    first, *later = [event["iteration"] for event in run.logged("checkpoint")][:-1]
    assert first <= 5, "what it takes is not known before the first"
    assert later
    assert all(after - before >= 15 for before, after in itertools.pairwise([first, *later]))
    assert outcome.clock["io"] < 0.5 * outcome.clock["train"]


def test_a_run_that_has_ended_can_be_looked_at_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    outcome, _ = run.segment()
    again, step = run.segment(lambda number: pytest.fail(f"batch {number} was asked for"))
    assert again.status == "finished"
    assert again.clock["train"] == pytest.approx(outcome.clock["train"], abs=0.05)
    assert digest(step)
