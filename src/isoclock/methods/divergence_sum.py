"""KL divergences added up over blocks of both softmaxes, to their last digits where student and teacher are close."""

from __future__ import annotations

import torch
from torch import Tensor

from isoclock.methods.softmax_blocks import LOG2_E, is_for_kernel, kernel_shares, loss_dtype, softmax_powers

_NEAR = {torch.float32: 0.1, torch.float64: 0.001}  # log-ratios up to which a series is as good as the sum's rounding


def shares(student: Tensor, teacher: Tensor, temperature: float, both: Tensor, ratio: Tensor) -> float:
    """Softmax along axis 1 of two blocks of logits / T into `both`, q and p; log(q / p) = unit * ratio.

    Returns the unit. The ratio comes of the logits' difference, which is exact where the two are close.
    """
    if is_for_kernel(student):
        kernel_shares(student, teacher, temperature, both, ratio)
        return 1.0
    gap = softmax_powers(student, teacher, LOG2_E / temperature, both)
    torch.sub(student if student.dtype == ratio.dtype else student.to(ratio.dtype), teacher, out=ratio).sub_(gap)
    return 1 / temperature


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

    def value(self, drift: Tensor | float = 0.0) -> Tensor:
        """The sum. `drift` is sum (q - p), 0 but for rounding: it mends -sum p u where q, p and u have it in common."""
        leading, plain = self._first.mul_(self._unit)
        of_difference, of_teacher = self._third
        near = torch.add(leading / 2, of_difference + 2 * of_teacher, alpha=-(self._unit**3) / 24)
        return torch.where(self._furthest * self._unit <= _NEAR[near.dtype], near, drift - plain)
