"""The parts of the fake step that could hide a fault: the backward pass in Python, and the watch of operators."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from operator_watch import OperatorWatch
from python_backward import python_backward
from torch import Tensor, nn


class Product(torch.autograd.Function):
    """With an argument that is no tensor, and one that needs no gradient."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, factor: float, b: Tensor, c: Tensor) -> Tensor:
        ctx.save_for_backward(a, c)
        ctx.factor = factor
        return factor * a * c + b

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        a, c = ctx.saved_tensors
        return ctx.factor * upstream * c, None, None, ctx.factor * upstream * a


def _loss(layers: nn.Module, images: Tensor) -> Tensor:
    """Uses one result several times, in several dtypes, and has a gradient within."""
    middle = layers(images)
    mixed = Product.apply(middle, 3.0, images.mean(), middle.bfloat16().float())
    (slope,) = torch.autograd.grad(mixed.square().sum(), middle, create_graph=True)
    return (slope.square().mean() - 1) ** 2 + (middle * mixed).sum() + middle[:, :1].mean()


def test_backward_in_python_finds_the_gradients_of_torch() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 2, 1))
    images = torch.randn(2, 3, 6, 6)
    _loss(layers, images).backward()
    expected = [parameter.grad for parameter in layers.parameters()]
    layers.zero_grad()
    with python_backward():
        _loss(layers, images).backward()
    for parameter, gradient in zip(layers.parameters(), expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize(
    "wait",
    [
        lambda values: values.sum().item(),
        lambda values: bool((values > 0).any()),
        lambda values: values.nonzero(),
        lambda values: values[values > 0],
        lambda values: torch.unique(values),
        lambda values: values.index_put_((values > 0,), torch.zeros(())),
        lambda values: torch.masked_select(values, values > 0),
    ],
)
def test_the_watch_sees_every_kind_of_wait(wait: Any) -> None:
    values = torch.randn(8)
    watch = OperatorWatch()
    with watch:
        wait(values)
    assert watch.waits


def test_the_watch_sees_tensors_on_the_cpu() -> None:
    values = torch.randn(8)
    with OperatorWatch() as watch:
        values.add(1).view(2, 4).sum()
    assert watch.problems.total() == 3
    assert watch.calls == 0  # it counts operators on CUDA
