"""Backward passes in Python: torch's own engine asks the CUDA driver for its streams, and here is no driver.

`torch.autograd.backward` and `torch.autograd.grad` are replaced by functions that call the nodes of the graph in order. They
differ from the engine in one way: a node computes the gradients of all its inputs, also where `grad` needs one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

Edge = tuple[Any, int]  # a node of the graph, and which of its inputs


@contextmanager
def python_backward() -> Iterator[None]:
    """Replace torch's engine."""
    with mock.patch("torch.autograd.backward", _backward), mock.patch("torch.autograd.grad", _grad):
        yield


def _backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    assert inputs is None, "not supported"
    _run(_sequence(tensors), _sequence(grad_tensors), create_graph)


def _grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
) -> tuple[Tensor | None, ...]:
    edges = [_edge(tensor) for tensor in _sequence(inputs)]
    found = _run(_sequence(outputs), _sequence(grad_outputs), create_graph, edges)
    if not allow_unused:
        assert all(gradient is not None for gradient in found), "an input is not used"
    return tuple(found)


def _run(
    outputs: Sequence[Tensor], gradients: Sequence[Tensor | None], create_graph: bool, wanted: Sequence[Edge] = ()
) -> list[Tensor | None]:
    """Gradients at the `wanted` edges; without any, leaves receive theirs."""
    results: dict[Edge, Tensor] = {}
    pending: dict[Any, dict[int, Tensor]] = {}
    roots = [_edge(output) for output in outputs]
    order = _ordered([node for node, _ in roots])
    targets = {node for node, _ in wanted}
    useful: dict[Any, bool] = {}
    for node in reversed(order):  # inputs come before what they are inputs of
        reached = any(useful[below] for below, _ in node.next_functions if below is not None)
        useful[node] = node in targets or reached or (not wanted and hasattr(node, "variable"))
    with torch.set_grad_enabled(create_graph):
        for edge, output, given in zip(roots, outputs, gradients or [None] * len(outputs), strict=True):
            _add(pending, edge, torch.ones_like(output) if given is None else given)
        for node in order:
            received = pending.pop(node, {})
            results |= {(node, place): value for place, value in received.items() if node in targets}
            below = any(useful[following] for following, _ in node.next_functions if following is not None)
            if not received or not (below or (not wanted and hasattr(node, "variable"))):
                continue
            for following, value in _call(node, [received.get(i) for i in range(len(node._input_metadata))]):
                if value is not None and useful[following[0]]:
                    _add(pending, following, value)
    return [results.get(edge) for edge in wanted]


def _ordered(roots: Sequence[Any]) -> list[Any]:
    """Every node of the graph, after all that pass a gradient to it."""
    users: Counter[Any] = Counter()
    seen = list(dict.fromkeys(roots))
    for node in seen:  # grows
        for following, _ in node.next_functions:
            if following is not None:
                if not users[following] and following not in roots:
                    seen.append(following)
                users[following] += 1
    left, order = users.copy(), [node for node in seen if not users[node]]
    for node in order:  # grows
        for following, _ in node.next_functions:
            if following is not None:
                left[following] -= 1
                if not left[following]:
                    order.append(following)
    return order


def _call(node: Any, gradients: list[Tensor | None]) -> Iterator[tuple[Edge, Tensor | None]]:
    """The gradients that a node passes on, each with the edge that it follows."""
    following = node.next_functions
    if hasattr(
        node, "needs_input_grad"
    ):  # an autograd.Function: one result for each argument, also for those without edge
        values = _sequence(node.apply(*gradients))
        following = [edge for edge in following if edge[0] is not None]
        values = [value for value, needed in zip(values, node.needs_input_grad, strict=False) if needed]
    else:
        values = _sequence(node(*gradients))
    return ((edge, value) for edge, value in zip(following, values, strict=False) if edge[0] is not None)


def _add(pending: dict[Any, dict[int, Tensor]], edge: Edge, value: Tensor) -> None:
    """Add what the engine adds: in the dtype and the shape of the output that the gradient belongs to."""
    node, place = edge
    expected = node._input_metadata[place]
    if value.dtype != expected.dtype:
        value = value.to(expected.dtype)
    if value.shape != expected.shape:
        value = value.sum_to_size(expected.shape)
    received = pending.setdefault(node, {})
    received[place] = received[place] + value if place in received else value


def _edge(tensor: Tensor) -> Edge:
    edge = get_gradient_edge(tensor)
    return edge.node, edge.output_nr


def _sequence(values: Any) -> Any:
    if values is None:
        return ()
    return (values,) if isinstance(values, Tensor) else values
