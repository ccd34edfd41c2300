"""Softmaxes of logit maps by blocks: in the order of memory, with reused buffers and powers of two."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from isoclock.kernels.precision import loss_dtype

LOG2_E = math.log2(math.e)
_CPU_BLOCK = (
    1 << 19
)  # elements: buffers stay in the last-level cache, and calls are few, as threads synchronise in each
_DEVICE_BLOCK = 1 << 23  # an accelerator wants few launches; this bounds the buffers
_LINE = 64  # elements: whole cache lines for every type; torch vectorises poorly along a shorter innermost axis


class BlockLayout:
    """A dense tensor as (outer, dim, inner) in the order of its memory, or (outer, dim) where `dim` is innermost.

    NCHW logits are (B, K, h w) along their classes, channels-last ones (B h w, K): neither is copied.
    """

    def __init__(self, like: Tensor, dim: int) -> None:
        """The layout of `like`; tensors of its shape are then viewed by the same order of axes."""
        axes = sorted(range(like.dim()), key=like.stride, reverse=True)
        place = axes.index(dim)
        self._axes = axes
        self._axes_of_rows = [axis - (axis > dim) for axis in axes if axis != dim]
        self._shape_of_rows = [size for axis, size in enumerate(like.shape) if axis != dim]
        self._outer = math.prod(like.shape[axis] for axis in axes[:place])
        self._length = like.shape[dim]
        self._inner = [math.prod(like.shape[axis] for axis in axes[place + 1 :])]
        if self._inner == [1]:
            self._inner = []
        limit = _CPU_BLOCK if like.device.type == "cpu" else _DEVICE_BLOCK
        self._each = min(self._outer, _lines(limit // max(1, self._length * math.prod(self._inner))))
        inner = math.prod(self._inner)
        parts = -(-inner // max(_LINE, limit // max(1, self._length)))
        self._width = min(inner, _lines(-(-inner // parts) + _LINE - 1))
        self.block_size = self._each * self._length * self._width
        self.whole = self._width == inner  # so that blocks of a tensor in this layout are contiguous

    def view(self, tensor: Tensor) -> Tensor:
        """`tensor` in this layout: a view if its strides have the same order."""
        return tensor.permute(self._axes).reshape(self._outer, self._length, *self._inner)

    def view_rows(self, rows: Tensor) -> Tensor:
        """What broadcasts over the shape without `dim`, as (outer, 1, inner) or (outer, 1)."""
        return rows.expand(self._shape_of_rows).permute(self._axes_of_rows).reshape(self._outer, 1, *self._inner)

    def blocks(self) -> Iterator[tuple[slice, ...]]:
        """Index ranges of blocks that hold whole rows along `dim`; few elements are one block."""
        for start in range(0, self._outer, self._each):
            rows = (slice(start, start + self._each), slice(None))
            if not self._inner:
                yield rows
            else:
                for left in range(0, self._inner[0], self._width):
                    yield (*rows, slice(left, left + self._width))


def _lines(elements: int) -> int:
    """`elements`, rounded down to whole cache lines: vectors across two lines are read at half the speed."""
    return max(1, elements - elements % _LINE if elements > _LINE else elements)


class Workspace:
    """Buffers in loss precision that every block of a sweep reuses: new memory costs a CPU more than arithmetic."""

    def __init__(self, layout: BlockLayout, like: Tensor, count: int) -> None:
        """`count` buffers, each as large as the largest block."""
        self._count = count
        self._memory = torch.empty(count * layout.block_size, dtype=loss_dtype(like), device=like.device)

    def take(self, shape: torch.Size) -> Tensor:
        """All buffers, as a contiguous tensor (count, *shape), uninitialised."""
        return self._memory[: self._count * shape.numel()].view(self._count, *shape)


def softmax_into(student: Tensor, teacher: Tensor, both: Tensor) -> None:
    """Softmax along axis 1 of two blocks of logits."""
    if is_for_kernel(student):
        for logits, log_shares in zip((student, teacher), both, strict=True):
            torch.log_softmax(logits.to(both.dtype), 1, out=log_shares)
        exponential_(both)
    else:
        softmax_powers(student, teacher, LOG2_E, both)


def kernel_shares(
    student: Tensor, teacher: Tensor, temperature: float, both: Tensor | tuple[Tensor, Tensor], ratio: Tensor
) -> None:
    """Softmax along axis 1 of two blocks of logits / T into `both`, q and p, and log(q / p) into `ratio`, by torch's kernel."""
    for logits, log_shares in zip((student, teacher), both, strict=True):
        torch.log_softmax(scaled(logits, 1 / temperature, ratio), 1, out=log_shares)
    torch.sub(both[0], both[1], out=ratio)
    for shares in both:
        exponential_(shares)


def softmax_powers(student: Tensor, teacher: Tensor, factor: float, both: Tensor) -> Tensor:
    """Softmax of base 2 along axis 1 of factor * logits; returns the logits' offset, student's less teacher's.

    Base 2, because the scaling by a temperature includes the change of base, and powers of two are cheap on a CPU.
    """
    tops = []
    for logits, exponents in zip((student, teacher), both, strict=True):
        values = logits if logits.dtype == both.dtype else logits.to(both.dtype)
        tops.append(largest(values, 1))
        torch.add(tops[-1] * -factor, values, alpha=factor, out=exponents)
    total = powers_to_shares_(both)
    return (total[0] / total[1]).log2_().div_(factor).add_(tops[0].sub_(tops[1]))


def powers_to_shares_(exponents: Tensor) -> Tensor:
    """(n, outer, length, ...) of exponents up to 0, to base 2: their powers' shares along axis 2; returns the sums."""
    total = exponents.exp2_().sum(2, keepdim=True)
    exponents.mul_(total.reciprocal())
    return total


def largest(values: Tensor, dim: int) -> Tensor:
    """`amax(dim, keepdim=True)`; a narrow inner axis is first widened by a part of the reduced one, to fill registers."""
    length = values.shape[dim]
    if dim == values.dim() - 2 and values.shape[-1] < _LINE <= length and length % _LINE == 0:
        return values.unflatten(dim, (length // _LINE, _LINE)).amax(dim).amax(dim, keepdim=True)
    return values.amax(dim, keepdim=True)


def is_for_kernel(logits: Tensor) -> bool:
    """Whether torch's own log_softmax is fastest: for short rows, and on devices where launches are expensive."""
    return (logits.dim() == 2 and logits.shape[1] < _LINE) or logits.device.type != "cpu"


def exponential_(values: Tensor) -> Tensor:
    """exp in place: on a CPU powers of two are twice as fast."""
    return values.mul_(LOG2_E).exp2_() if values.device.type == "cpu" else values.exp_()


def scaled(block: Tensor, factor: float, out: Tensor) -> Tensor:
    """`block` times `factor`, in loss precision: in `out`, or the block itself if nothing is to be done."""
    if factor == 1 and block.dtype == out.dtype:
        return block
    return torch.mul(block if block.dtype == out.dtype else block.to(out.dtype), factor, out=out)
