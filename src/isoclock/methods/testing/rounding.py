"""Monte Carlo arithmetic: float64 operations whose results err at random as those of a shorter format would."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

FLOAT32 = 2.0**-24
"""Unit roundoff: the largest relative error of one operation that is rounded to nearest."""

NEAR_FLOAT64 = 2.0**-50
"""Eight times float64's, which has to hold the errors as well: smaller ones would be rounded away themselves."""

# fmt: off
EXACT = {
    "_to_copy", "_unsafe_view", "abs", "amax", "amin", "arange", "bitwise_and", "cat", "clamp", "clamp_min",
    "clone", "copy_", "detach", "empty", "empty_like", "eye", "fill_", "full_like", "gather", "index",
    "index_select", "lift_fresh", "masked_fill", "max", "max_pool2d_with_indices", "neg", "new_empty",
    "new_zeros", "ones_like", "relu", "relu_", "repeat", "scatter", "scatter_", "sign", "stack",
    "threshold_backward", "unique", "where", "zero_", "zeros", "zeros_like",
}
# fmt: on
"""Operations that move or choose numbers. One that rounds nothing and is missing here makes the estimate too large."""

POOL = 1 << 16

PRODUCTS = {"addmm", "baddbmm", "bmm", "convolution", "convolution_backward", "mm", "native_batch_norm_backward"}


class Rounding(TorchDispatchMode):
    """Every result of an operation on float64 tensors, times 1 + `unit` u with u drawn evenly out of [-1, 1].

    An operation that adds up (one whose result is smaller than an operand, and the products) rounds in each summand;
    its operands are therefore multiplied alike, for it alone. This is Monte Carlo arithmetic (Parker 1997): the spread
    of what comes out is the error that the same operations make in a format with that unit roundoff, as far as those
    errors are independent. It depends on the operations and their numbers only, not on a machine's order of work.
    """

    def __init__(self, unit: float, seed: int) -> None:
        super().__init__()
        self.unit = unit
        self.random = Random(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::").split(".")[0]
        exact = func.is_view or name in EXACT
        result = func(*args, **(kwargs or {}))
        if exact:
            return result
        if not func._schema.is_mutable and (name in PRODUCTS or _shrinks(args, result)):
            args = tuple(self.rounded(arg) if _rounds(arg) else arg for arg in args)
            result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, (tuple, list)) else (result,):
            if _rounds(one):
                one.copy_(self.rounded(one))
        return result

    def rounded(self, values: Tensor) -> Tensor:
        """`values`, each with a random error of up to `unit` of it."""
        size = values.numel()
        factors = _factors(self.unit, max(POOL, 2 * size), values.device)
        start = self.random.randrange(len(factors) - size + 1)
        return values * factors[start : start + size].view(values.shape)


@cache
def _factors(unit: float, size: int, device: torch.device) -> Tensor:
    """Random factors, drawn once; each operation uses a random slice, which is much faster than drawing for each."""
    noise = torch.rand(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64, device="cpu")
    return noise.mul_(2).sub_(1).mul_(unit).add_(1).to(device)


def _rounds(one: Any) -> bool:
    return isinstance(one, Tensor) and one.dtype == torch.float64


def _shrinks(args: Any, result: Any) -> bool:
    return _rounds(result) and any(_rounds(arg) and arg.numel() > result.numel() for arg in args)
