"""A step that was warmed up trains with the same bits as one that was not."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from test_loop import ITERATIONS, METHODS, PRETRAIN, Run, digest
from tiny_segmenter import batch_at, batches, training_step
from torch import Tensor

from isoclock.training import loop as loops
from isoclock.training.loop import Sources, TrainingLoop
from isoclock.training.step import TrainingStep
from isoclock.training.warm_up import STEPS, is_worthwhile, warm_up


@pytest.fixture
def warmed(monkeypatch: pytest.MonkeyPatch) -> list[TrainingStep]:
    """Warm up on the CPU too; the steps that were."""
    found: list[TrainingStep] = []

    def noted(step: TrainingStep, *rest: Any) -> None:
        found.append(step)
        warm_up(step, *rest)

    monkeypatch.setattr(loops, "is_worthwhile", lambda _step: True)
    monkeypatch.setattr(loops, "warm_up", noted)
    return found


@pytest.fixture
def cold_digest(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    """What training without a warm-up ends with."""
    return digest(Run(tmp_path / "cold", request.getfixturevalue("method")).segment()[1])


@pytest.mark.parametrize("method", METHODS)
def test_a_warm_up_does_not_move_a_bit(
    cold_digest: str, tmp_path: Any, method: str, warmed: list[TrainingStep]
) -> None:
    asked: list[int] = []
    outcome, step = Run(tmp_path / "warm", method).segment(asked.append)
    assert outcome.status == "finished"
    assert warmed == [step], "once in a segment"
    assert digest(step) == cold_digest
    first = -PRETRAIN if METHODS[method][1].get("pretrain_iterations") else 0
    assert asked[: ITERATIONS - first] == list(range(first, ITERATIONS)), "each batch is asked for once"


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_is_warmed_up_without_moving_a_bit(
    cold_digest: str, tmp_path: Any, method: str, warmed: list[TrainingStep]
) -> None:
    run = Run(tmp_path / "warm", method)
    run.stopped(ITERATIONS // 2)
    _, step = run.segment()
    assert len(warmed) == 2
    assert digest(step) == cold_digest


@pytest.mark.parametrize("trained", [0, 2])
@pytest.mark.parametrize("method", METHODS)
def test_everything_is_as_before(method: str, trained: int) -> None:
    weights, params = METHODS[method]
    step = training_step(method, weights, params)
    loop = TrainingLoop(step, ITERATIONS, Sources(lambda at: batches(at, ITERATIONS)))
    for number in range(trained):
        step(batch_at(number), 0.05)
    before, python, numpy = _flat(loop.state_dict()), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    warm_up(step, batch_at(9), loop.state_dict, loop.load_state_dict)
    after = _flat(loop.state_dict())
    assert before == after
    assert (random.getstate(), np.random.get_state()[1].tolist()) == (python, numpy)  # type: ignore[index, union-attr]
    assert all(parameter.grad is None for parameter in step.parameters)


def _flat(state: Any, where: str = "") -> dict[str, Any]:
    """A state as plain values by their places."""
    if isinstance(state, Mapping):
        return dict(
            itertools.chain.from_iterable(_flat(value, f"{where}/{key}").items() for key, value in state.items())
        )
    if isinstance(state, list | tuple):
        return _flat(dict(enumerate(state)), where)
    return {where: state.tolist() if isinstance(state, Tensor) else state}


def test_the_steps_are_those_of_the_run_and_off_the_train_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, params = METHODS["maskd"]
    step = training_step("maskd", weights, params)
    loop = TrainingLoop(step, ITERATIONS, Sources(lambda at: batches(at, ITERATIONS)))
    done: list[str] = []
    monkeypatch.setattr(step, "pretrain", lambda *_: done.append("pretrain"))
    monkeypatch.setattr(TrainingStep, "__call__", lambda *_: done.append(f"step, {loop.clock._running}"))
    monkeypatch.setattr(loop, "_warm", False)
    with loop.clock.running("train"):
        (first, second) = itertools.islice(loop._opened(lambda at: batches(at, ITERATIONS), 4), 2)
        assert loop.clock._running == "train"
    assert done == ["pretrain", "step, None"] * STEPS
    assert (first["index"][0], second["index"][0]) == (8, 10)


def test_the_first_batch_is_waited_for_off_the_train_clock() -> None:
    running: list[str | None] = []
    loop = TrainingLoop(training_step(), ITERATIONS, Sources(lambda at: batches(at, ITERATIONS)))

    def stream(at: int) -> Iterator[Mapping[str, Tensor]]:
        for batch in batches(at, ITERATIONS):
            running.append(loop.clock._running)
            yield batch

    with loop.clock.running("train"):
        list(itertools.islice(loop._opened(stream, 0), 3))
    assert running == [None, "train", "train"]


def test_it_is_done_where_a_first_step_costs_more() -> None:
    assert not is_worthwhile(training_step())
    step = training_step()
    step.device = torch.device("cuda")
    assert is_worthwhile(step)
    for changes in ({"compile": "default"}, {"teacher_inference": "compiled"}):
        step = training_step()
        step.recipe = step.recipe.model_copy(update=changes)
        assert is_worthwhile(step)
