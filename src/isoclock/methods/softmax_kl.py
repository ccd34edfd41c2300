"""KL divergence of two softmaxes, summed: value and gradient in one sweep over cache-sized blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LOG2_E = math.log2(math.e)
_CPU_BLOCK = 5 << 15  # elements, 19 classes on 64 x 128: such buffers stay near the cores, and calls are few
_DEVICE_BLOCK = 1 << 23  # an accelerator wants few launches; this bounds the buffers
_LINE = 64  # elements: whole cache lines whatever the type; torch's vectors do badly along a shorter innermost axis
_NEAR = {torch.float32: 0.1, torch.float64: 0.001}  # log-ratios up to which a series is as good as the sum's rounding


def softmax_kl_sum(
    student: Tensor, teacher: Tensor, *, dim: int, temperature: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Sum over all positions of weight * KL(softmax(teacher / T) || softmax(student / T)), softmax along `dim`.

    `weight` is a constant and broadcasts over the shape without `dim`. The value is in loss precision (float32, or
    float64 if the student is); the gradient goes to the student only. Any dense layout is read as it lies in memory.
    """
    value: Tensor = _SoftmaxKL.apply(student, teacher.detach(), weight, dim % student.dim(), float(temperature))
    return value


class Layout:
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
        """`tensor` in this layout: a view if it is laid out alike."""
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
    """`elements`, rounded down to whole cache lines: vectors across two lines are read at half the pace."""
    return max(1, elements - elements % _LINE if elements > _LINE else elements)


class Workspace:
    """Buffers in loss precision that every block of a sweep uses anew: fresh memory costs a CPU more than arithmetic."""

    def __init__(self, layout: Layout, like: Tensor, count: int) -> None:
        """`count` buffers, each as large as the largest block."""
        self._count = count
        self._memory = torch.empty(count * layout.block_size, dtype=loss_dtype(like), device=like.device)

    def take(self, shape: torch.Size) -> Tensor:
        """All buffers, as a contiguous tensor (count, *shape), with whatever is in them."""
        return self._memory[: self._count * shape.numel()].view(self._count, *shape)


def shares(student: Tensor, teacher: Tensor, temperature: float, both: Tensor, ratio: Tensor) -> float:
    """Softmax along axis 1 of two blocks of logits / T into `both`, q and p; log(q / p) = unit * ratio.

    Returns the unit. The ratio comes of the logits' difference, which is exact where the two are close.
    """
    if _is_for_kernel(student):
        for logits, log_shares in zip((student, teacher), both, strict=True):
            torch.log_softmax(scaled(logits, 1 / temperature, ratio), 1, out=log_shares)
        torch.sub(both[0], both[1], out=ratio)
        exponential_(both)
        return 1.0
    gap = _softmax(student, teacher, LOG2_E / temperature, both)
    torch.sub(student if student.dtype == ratio.dtype else student.to(ratio.dtype), teacher, out=ratio).sub_(gap)
    return 1 / temperature


def softmax_into(student: Tensor, teacher: Tensor, both: Tensor) -> None:
    """Softmax along axis 1 of two blocks of logits."""
    if _is_for_kernel(student):
        for logits, log_shares in zip((student, teacher), both, strict=True):
            torch.log_softmax(logits.to(both.dtype), 1, out=log_shares)
        exponential_(both)
    else:
        _softmax(student, teacher, LOG2_E, both)


def _softmax(student: Tensor, teacher: Tensor, factor: float, both: Tensor) -> Tensor:
    """Softmax of base 2 along axis 1 of factor * logits; returns the logits' offset, student's less teacher's.

    Base 2, because the scaling by a temperature takes the change of base along, and powers of two are cheap on a CPU.
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


def _is_for_kernel(logits: Tensor) -> bool:
    """Whether torch's own log_softmax is the fastest: for short rows, and where launches count."""
    return (logits.dim() == 2 and logits.shape[1] < _LINE) or logits.device.type != "cpu"


def exponential_(values: Tensor) -> Tensor:
    """exp in place: on a CPU powers of two are twice as fast."""
    return values.mul_(LOG2_E).exp2_() if values.device.type == "cpu" else values.exp_()


def loss_dtype(values: Tensor) -> torch.dtype:
    """The precision that `in_loss_precision` gives."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def scaled(block: Tensor, factor: float, out: Tensor) -> Tensor:
    """`block` times `factor`, in loss precision."""
    return torch.mul(block if block.dtype == out.dtype else block.to(out.dtype), factor, out=out)


class DivergenceSum:
    """Adds up KL(p || q) over blocks, without losing its digits where q is near p.

    With u = log(q / p), KL = -sum p u. Where u is small that is the rest of a sum of first order, whose rounding errors
    swamp it. But 2 KL = sum (q - p) u - (q + p) (u - 2 tanh(u / 2)), whose leading part is of second order, and the
    other is u^3 / 12 but for the fifth order. That form is taken if all |u| are small: to |u|^3 / 60 at worst.
    """

    def __init__(self, like: Tensor) -> None:
        """Nothing added yet."""
        # With r the ratios: sum (q - p) r and sum p r; the same of r^3.
        self._first, self._third = torch.zeros(2, 2, dtype=loss_dtype(like), device=like.device).unbind()
        self._furthest = torch.zeros((), dtype=loss_dtype(like), device=like.device)
        self._unit = 1.0

    def add_(self, both: Tensor, ratio: Tensor, unit: float, *, difference: Tensor | None = None) -> None:
        """A block: q and p, log(q / p) = unit * ratio. Overwrites them, and puts q - p into `difference`."""
        both[0].sub_(both[1])
        pair, ratios = both.view(2, -1), ratio.view(-1)
        least, most = torch.aminmax(ratios)
        self._furthest = self._furthest.maximum(most).maximum(least.neg_())
        self._first += torch.mv(pair, ratios)
        self._third += torch.mv(pair, ratios.pow_(3))
        if difference is not None:  # last, for it may lie where the ratio is
            difference.copy_(both[0])
        self._unit = unit

    def value(self) -> Tensor:
        """The sum."""
        leading, plain = self._first.mul_(self._unit)
        of_difference, of_teacher = self._third
        near = torch.add(leading / 2, of_difference + 2 * of_teacher, alpha=-(self._unit**3) / 24)
        return torch.where(self._furthest * self._unit <= _NEAR[near.dtype], near, -plain)


class _SoftmaxKL(torch.autograd.Function):
    """The gradient is made beside the value and handed out at the first backward; a second one makes it afresh."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, weight: Tensor | None, dim: int, temperature: float
    ) -> Tensor:
        ctx.save_for_backward(student)
        ctx.given = (teacher, weight, dim, temperature)
        value, ctx.gradient = _sweep(student, *ctx.given, wants_gradient=ctx.needs_input_grad[0])
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient = ctx.gradient
        if gradient is None:
            (student,) = ctx.saved_tensors
            gradient = _sweep(student, *ctx.given, wants_gradient=True)[1]
        ctx.gradient = None
        return gradient.mul_(upstream / ctx.given[3]), None, None, None, None


def _sweep(
    student: Tensor, teacher: Tensor, weight: Tensor | None, dim: int, temperature: float, *, wants_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """(value, T times the gradient in the student's dtype and layout)."""
    gradient = torch.empty_like(student) if wants_gradient else None
    layout = Layout(student if gradient is None else gradient, dim)
    ours, theirs = layout.view(student), layout.view(teacher)
    weights = None if weight is None else layout.view_rows(weight)
    places = None if gradient is None else layout.view(gradient)
    total = DivergenceSum(student)
    direct = places is not None and layout.whole and student.dtype == loss_dtype(student)
    workspace = Workspace(layout, student, 2 if direct else 3)
    with torch.autocast(student.device.type, enabled=False):
        for block in layout.blocks():
            buffers = workspace.take(ours[block].shape)
            place = None if places is None else places[block]
            both, ratio = buffers[:2], place if direct and place is not None else buffers[2]
            unit = shares(ours[block], theirs[block], temperature, both, ratio)
            if weights is not None:
                both.mul_(weights[(block[0], slice(None), *block[2:])])
            total.add_(both, ratio, unit, difference=place)
    return total.value(), gradient
