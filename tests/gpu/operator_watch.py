"""Counts the operators that run on fake CUDA tensors, and notes those that would wait for the GPU or use the CPU."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import isoclock

_SOURCES = f"{Path(isoclock.__file__).parent}/"

WAITS = (
    "_local_scalar_dense",
    "bincount",
    "equal.default",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "repeat_interleave.Tensor",
    "unique",
    "_unique",
)
"""Operators whose result the host has to see: `.item()`, and those whose output's size depends on values."""

MOST_CALLS = 40_000
"""Of operators, in two steps: beyond, a loss works in tiles that are far too small for a GPU."""

CLASSES_OF_AN_IMAGE = 4
"""Assumed where published code makes the host read them."""

_ALLOCATIONS = ("empty", "new_empty")


class TooManyCallsError(Exception):
    """More than `MOST_CALLS`."""


class OperatorWatch(TorchDispatchMode):
    """`calls` and `bytes_moved` (read and written) of operators on CUDA; views are free.

    `problems`: sentences with operator and place. `waits`: the places where the host would wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.bytes_moved = 0, 0
        self.problems: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.uploads_allowed = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # asks for a tensor's device
            return func(*args, **kwargs)
        name = func.name().removeprefix("aten::")
        inputs = _tensors((args, kwargs))
        if name.startswith("_fused_"):  # optimisers, of which torch has no fake version: they return nothing
            out = None
        elif _waits(name, args):
            self.waits[f"{name} in {_place()}"] += 1
            out = self._assumed(name, args)
        else:
            out = func(*args, **kwargs)
            _note_true_share(name, args, out)
        outputs = _tensors(out)
        on_cuda = [tensor for tensor in (*inputs, *outputs) if tensor.is_cuda]
        on_cpu = [tensor for tensor in (*inputs, *outputs) if not tensor.is_cuda]
        if any(tensor.is_cuda for tensor in inputs) and any(not tensor.is_cuda for tensor in outputs):
            self.waits[f"{name} copies to the CPU in {_place()}"] += 1
        elif any(tensor.dim() > 0 for tensor in on_cpu) and not self.uploads_allowed:
            self.problems[f"{name} has a tensor on the CPU in {_place()}"] += 1
        if on_cuda and not func.is_view and not name.startswith(_ALLOCATIONS):
            self._count([*inputs, *outputs])
        return out

    def launch(self, _kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        """In place of `triton.JITFunction.run`: a call that reads or writes all its tensors."""
        tensors = _tensors((args, kwargs))
        if not all(tensor.is_cuda for tensor in tensors):
            self.problems[f"a Triton kernel has a tensor on the CPU in {_place()}"] += 1
        self._count(tensors)

    def _count(self, tensors: list[Tensor]) -> None:
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise TooManyCallsError(f"more than {MOST_CALLS} operator calls, the last one in {_place()}")
        self.bytes_moved += sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def _assumed(self, name: str, args: Any) -> Any:
        """The result of an operator that depends on values: an image has a few classes, with equal shares of its pixels.

        A mask selects everything, unless it is known how many of its elements are true.
        """
        tensor = args[0]
        if name == "_local_scalar_dense":
            return {torch.bool: False, torch.float32: 1.0, torch.float64: 1.0}.get(tensor.dtype, 0)
        if name.startswith("nonzero"):
            return tensor.new_empty((-(-tensor.numel() // CLASSES_OF_AN_IMAGE), tensor.dim()), dtype=torch.int64)
        if name.startswith("_unique2"):
            return tuple(tensor.new_empty(size, dtype=torch.int64) for size in (CLASSES_OF_AN_IMAGE, 0, 0))
        if "index_put" in name:
            return tensor if "put_" in name else torch.empty_like(tensor)
        if name.startswith("masked_select"):
            return tensor.new_empty(tensor.numel())
        if name.startswith("index.") and len(args[1]) == 1:
            (mask,) = args[1]
            return tensor.new_empty(round(mask.numel() * _true_share(mask)), *tensor.shape[mask.dim() :])
        raise NotImplementedError(f"{name}: no result is assumed; add one to tests/gpu/operator_watch.py")


def _true_share(mask: Tensor) -> float:
    share: float = getattr(mask, "true_share", 1.0)
    return share


def _note_true_share(name: str, args: Any, out: Any) -> None:
    """Remember what share of a mask's elements is true, where the operator says so."""
    if name.startswith("eye") and out.dtype == torch.bool:
        out.true_share = 1 / out.shape[-1]
    elif name in ("repeat", "expand", "clone") and isinstance(out, Tensor):
        out.true_share = _true_share(args[0])
    elif name.startswith("scatter_.value") and args[0].dtype == torch.bool and not args[3]:
        out.true_share = 1 - args[2].shape[args[1]] / out.shape[args[1]]


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _waits(name: str, args: Any) -> bool:
    by_mask = name.startswith(("index.", "index_put", "_index_put", "_unsafe_index")) and any(
        isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
    )
    return by_mask or name.startswith(WAITS)


def _place() -> str:
    """The innermost line of isoclock that is at work, as file:line."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_filename.startswith(_SOURCES):
            return f"{frame.f_code.co_filename.removeprefix(_SOURCES)}:{frame.f_lineno}"
    return "autograd"
