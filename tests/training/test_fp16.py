"""Training in fp16: the loss is scaled, and a step whose gradients are not finite changes nothing but the scale."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_segmenter import batch_at, training_step

from isoclock.training.step import TrainingStep

KD = {"kd": 1.0}
HUGE = 2.0**60  # as a scale, no gradient is finite
ADVERSARY: tuple[str, dict[str, float], dict[str, Any]] = (
    "skd",
    {"holistic": 0.1},
    {"conv_dim": 8, "adversary": "wgan-gp"},
)


def with_scale(step: TrainingStep, scale: float) -> TrainingStep:
    step.scaler.load_state_dict({**step.scaler.state_dict(), "scale": scale})
    return step


def weights(step: TrainingStep) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in step.parameters]


def flat(values: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.flatten() for value in values])


def momentum(step: TrainingStep) -> list[torch.Tensor]:
    return [step.optimiser.state[parameter]["momentum_buffer"].clone() for parameter in step.parameters]


def equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


@pytest.mark.parametrize("loss_precision", ["autocast", "fp32"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_step_is_near_that_of_float32(precision: str, loss_precision: str) -> None:
    totals, moved = [], []
    for changes in ({}, {"precision": precision, "loss_precision": loss_precision}):
        step = training_step("kd", KD, **changes)
        before = flat(weights(step))
        losses = step(batch_at(0), 0.1)
        assert losses.total.dtype == torch.float32
        totals.append(float(losses.total))
        moved.append(flat(weights(step)) - before)
    assert totals[1] == pytest.approx(totals[0], rel=0.02)
    assert float((moved[1] - moved[0]).norm()) < 0.05 * float(moved[0].norm())


def test_the_scale_is_not_in_weights_or_losses() -> None:
    """Scales are powers of two: as long as nothing leaves fp16's range, they change no more than rounding does."""
    small, large = (with_scale(training_step("kd", KD, precision="fp16"), scale) for scale in (2.0**8, 2.0**10))
    for number in range(3):
        torch.manual_seed(number)
        total = small(batch_at(number), 0.1).total
        torch.manual_seed(number)
        torch.testing.assert_close(total, large(batch_at(number), 0.1).total, rtol=1e-3, atol=0.0)
    for one, other in zip(weights(small), weights(large), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)


def test_gradients_too_small_for_fp16_train() -> None:
    """Those of an adapter whose loss weighs little: zero in fp16 without a scale."""

    def moved(scale: float = 1.0, **changes: Any) -> torch.Tensor:
        step = training_step("fitnet", {"fitnet": 1e-8}, momentum=0.0, weight_decay=0.0, **changes)
        if step.scaler.is_enabled():
            with_scale(step, scale)
        adapter = next(step.method.parameters())
        before = adapter.detach().clone()
        step(batch_at(0), 1e7)
        return adapter.detach() - before

    expected, scaled = moved(), moved(2.0**16, precision="fp16")
    assert float((scaled - expected).norm()) < 0.05 * float(expected.norm())
    assert not moved(1.0, precision="fp16").any()


@pytest.mark.parametrize("method", [("kd", KD, {}), ("fitnet", {"fitnet": 1.0}, {})])
def test_a_skipped_first_step_leaves_weights_and_momentum(method: tuple[str, dict[str, float], dict[str, Any]]) -> None:
    step = with_scale(training_step(*method, precision="fp16"), HUGE)
    before = weights(step)
    losses = step(batch_at(0), 0.1)
    assert losses.total.isfinite(), "a skipped step is not a divergence"
    assert equal(weights(step), before)
    assert all(not buffer.any() for buffer in momentum(step))
    assert step.scaler.get_scale() == HUGE / 2


def test_a_run_goes_on_after_skipped_steps_as_if_they_had_not_been() -> None:
    """Batch statistics aside, which every forward pass moves."""
    clean, skipped = (training_step("kd", KD, precision="fp16") for _ in range(2))
    with_scale(skipped, HUGE)
    skipped(batch_at(7), 0.1)
    with_scale(skipped, 2.0**16)
    for number in range(3):
        for step in (clean, skipped):
            torch.manual_seed(number)
            step(batch_at(number), 0.1)
    assert equal(weights(clean), weights(skipped))
    assert equal(momentum(clean), momentum(skipped))


def test_a_step_skipped_later_keeps_the_momentum_of_the_one_before() -> None:
    step = training_step("kd", KD, precision="fp16")
    step(batch_at(0), 0.1)
    before = weights(step), momentum(step)
    assert any(buffer.any() for buffer in before[1])
    with_scale(step, HUGE)
    step(batch_at(1), 0.1)
    assert equal(weights(step), before[0])
    assert equal(momentum(step), before[1])


def test_an_adversary_trains_while_the_student_is_skipped_and_outside_of_autocast() -> None:
    step = with_scale(training_step(*ADVERSARY, precision="fp16"), HUGE)
    adversary = step.method.adversary
    assert isinstance(adversary, torch.nn.Module)
    types: set[torch.dtype] = set()
    adversary.register_forward_hook(lambda _module, _inputs, output: types.add(output.dtype))
    before = weights(step), [parameter.detach().clone() for parameter in adversary.parameters()]
    losses = step(batch_at(0), 0.1)
    assert equal(weights(step), before[0])
    after = [parameter.detach() for parameter in adversary.parameters()]
    assert not equal(after, before[1])
    assert all(value.isfinite().all() for value in [*after, *losses.terms.values()])
    assert torch.float32 in types, "its own backward pass is not scaled"


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("loss_precision", ["autocast", "fp32"])
def test_what_a_method_is_given(precision: str, loss_precision: str) -> None:
    step = training_step("kd", KD, precision=precision, loss_precision=loss_precision)
    found: list[tuple[bool, set[torch.dtype]]] = []

    def look(_module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        types = {output.logits.dtype for output in arguments[:2]}
        found.append((torch.is_autocast_enabled("cpu"), types))

    step.method.register_forward_pre_hook(look)
    step(batch_at(0), 0.1)
    short = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert found == [(True, {short}) if loss_precision == "autocast" else (False, {torch.float32})]


def test_loss_precision_changes_no_bit_in_float32() -> None:
    steps = [training_step("kd", KD, loss_precision=name) for name in ("autocast", "fp32")]
    for step in steps:
        torch.manual_seed(0)
        step(batch_at(0), 0.1)
    assert equal(weights(steps[0]), weights(steps[1]))
    assert not steps[0].scaler.is_enabled()
