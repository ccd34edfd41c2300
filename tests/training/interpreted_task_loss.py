"""The task loss's Triton kernel in Triton's interpreter. `test_triton_cross_entropy.py` runs this file in its own process.

TRITON_INTERPRET=1 must be set before triton is imported. The interpreter is slow: maps are small.
"""

from __future__ import annotations

import pytest
import torch
from plain_task_loss import pixel_weights, plain_task_loss
from torch import Tensor

from isoclock.training.task_loss import Labels
from isoclock.training.triton_cross_entropy import fits, upsampled_cross_entropy

EPS = torch.finfo(torch.float32).eps


def case(shape: tuple[int, ...], full: tuple[int, int], scale: float = 3.0) -> tuple[Tensor, Tensor]:
    """Logits (B, K, h, w) float32, and labels (B, H, W) of which a fifth is ignored."""
    random = torch.Generator().manual_seed(0)
    target = torch.randint(0, shape[1], (shape[0], *full), generator=random)
    target[torch.rand(target.shape, generator=random) < 0.2] = 255
    return scale * torch.randn(shape, generator=random), target


def by_kernel(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    labels = Labels(target, pixel_weights(logits.shape[1], weights))
    assert fits(tuple(logits.shape[2:]), tuple(target.shape[1:]))
    return upsampled_cross_entropy(logits, labels.classes, labels.shares, True)


def exact(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    leaf = logits.double().requires_grad_()
    value = plain_task_loss(leaf, target, weights)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("shape", "full"),
    [
        ((2, 5, 2, 3), (16, 24)),  # 8 times
        ((1, 19, 3, 2), (25, 17)),  # not a whole number
        ((1, 3, 3, 3), (3, 5)),  # not enlarged along one axis
        ((1, 1, 1, 1), (8, 16)),  # one logit, one class
    ],
)
def test_agrees_with_the_plain_loss_in_float64(
    shape: tuple[int, ...], full: tuple[int, int], dtype: torch.dtype
) -> None:
    logits, target = case(shape, full)
    logits = logits.to(dtype)
    weights = torch.linspace(0.5, 2.0, shape[1])
    value, gradient = by_kernel(logits, target, weights)
    expected, expected_gradient = exact(logits, target, weights)
    assert value.dtype == gradient.dtype == torch.float32
    assert abs(value.double() - expected) <= 16 * EPS * max(1.0, float(expected))
    assert (gradient.double() - expected_gradient).norm() <= 32 * EPS * max(1e-3, expected_gradient.norm())


def test_many_classes_are_computed_in_blocks() -> None:
    logits, target = case((1, 150, 1, 2), (8, 16))
    value, gradient = by_kernel(logits, target)
    expected, expected_gradient = exact(logits, target)
    assert abs(value.double() / expected - 1) <= 4 * EPS
    assert (gradient.double() - expected_gradient).norm() <= 8 * EPS * expected_gradient.norm()


def test_any_layout_of_the_logits() -> None:
    logits, target = case((1, 5, 2, 3), (16, 24))
    value, gradient = by_kernel(logits, target)
    wide = torch.randn(1, 8, 4, 3)[:, 1:6, ::2].copy_(logits)
    for same in (logits.contiguous(memory_format=torch.channels_last), wide):
        again, again_gradient = by_kernel(same, target)
        assert torch.equal(again, value)
        assert torch.equal(again_gradient, gradient)
        assert again_gradient.stride() == torch.empty_like(same).stride()


def test_an_image_without_labels_and_a_batch_without() -> None:
    logits, target = case((2, 5, 2, 2), (8, 8))
    target[1] = 255
    value, gradient = by_kernel(logits, target)
    expected, _ = exact(logits, target)
    assert abs(value.double() - expected) <= 16 * EPS * float(expected)
    assert not gradient[1].any()
    value, gradient = by_kernel(logits, torch.full_like(target, 255))
    assert value == 0
    assert not gradient.any()


def test_large_logits_stay_exact() -> None:
    logits, target = case((1, 5, 2, 3), (16, 24), scale=1000.0)
    value, gradient = by_kernel(logits, target)
    expected, expected_gradient = exact(logits, target)
    assert abs(value.double() / expected - 1) <= 4 * EPS
    assert (gradient.double() - expected_gradient).norm() <= 4000 * EPS * expected_gradient.norm()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_divergence_is_seen(bad: float) -> None:
    logits, target = case((1, 5, 2, 3), (16, 24))
    target[target == 255] = 0
    logits[0, 2, 1, 1] = bad
    assert not by_kernel(logits, target)[0].isfinite()


def test_a_label_that_is_no_class_makes_the_loss_nan() -> None:
    logits, target = case((1, 5, 2, 3), (16, 24))
    target[0, 3, 4] = 5
    assert by_kernel(logits, target)[0].isnan()


def test_without_gradient_the_same_value() -> None:
    logits, target = case((1, 5, 2, 3), (16, 24))
    labels = Labels(target, pixel_weights(5))
    value, gradient = upsampled_cross_entropy(logits, labels.classes, labels.shares, False)
    assert torch.equal(value, by_kernel(logits, target)[0])
    assert gradient.numel() == 0


def test_the_operator_is_what_it_states_to_torch() -> None:
    """Its fake version has the shapes, dtypes and strides of the real one; it changes none of its arguments."""
    logits, target = case((1, 5, 1, 2), (4, 8))
    labels = Labels(target, pixel_weights(5))
    channels_last = logits.contiguous(memory_format=torch.channels_last)
    for wants_gradient in (True, False):
        torch.library.opcheck(
            upsampled_cross_entropy,
            (channels_last, labels.classes, labels.shares, wants_gradient),
            test_utils=("test_schema", "test_faketensor"),
        )
