"""Sums of KL divergences over blocks of two softmaxes, accurate also where student and teacher are close."""

from __future__ import annotations

import torch
from torch import Tensor

from isoclock.kernels.precision import loss_dtype
from isoclock.kernels.softmax_blocks import LOG2_E, is_for_kernel, kernel_shares, softmax_powers

_NEAR = {torch.float32: 0.1, torch.float64: 0.001}  # log-ratios up to which the series is as accurate as the sum


def shares(student: Tensor, teacher: Tensor, temperature: float, both: Tensor, ratio: Tensor) -> float:
    """Softmax along axis 1 of two blocks of logits / T into `both`, q and p; log(q / p) = unit * ratio.

    Returns the unit. The ratio is computed from the difference of the logits, which is exact where the two are close.
    """
    if is_for_kernel(student):
        kernel_shares(student, teacher, temperature, both, ratio)
        return 1.0
    gap = softmax_powers(student, teacher, LOG2_E / temperature, both)
    torch.sub(student if student.dtype == ratio.dtype else student.to(ratio.dtype), teacher, out=ratio).sub_(gap)
    return 1 / temperature


class DivergenceSum:
    """Adds up KL(p || q) over blocks, accurate also where q is near p.

    With u = log(q / p), KL = -sum p u. If u is small, summands of first order cancel and leave their rounding errors.
    But KL = sum (q - p) (1 - u / (exp(u) - 1)) as well, all of whose summands are of second order. The factor is
    u / 2 - u^2 / 12 + u^4 / 720 - ... (Bernoulli's numbers). Its first two terms are used if all |u| are small.
    """

    def __init__(self, like: Tensor) -> None:
        """Nothing added yet."""
        # With r the ratios: sum (q - p) (r - unit r^2 / 6), sum p r, and sum (q - p).
        self._near, self._plain, self._drift, self._furthest = torch.zeros(
            4, dtype=loss_dtype(like), device=like.device
        ).unbind()
        self._unit = 1.0

    def add_(
        self, both: Tensor | tuple[Tensor, Tensor], ratio: Tensor, unit: float, *, difference: Tensor | None = None
    ) -> None:
        """A block: q and p, log(q / p) = unit * ratio. Overwrites ratio, and q by q - p; copies q - p to `difference` too."""
        gap, expected = both[0].sub_(both[1]), both[1]
        least, most = torch.aminmax(ratio)
        self._furthest = self._furthest.maximum(most).maximum(least.neg_())
        self._plain += torch.dot(expected.view(-1), ratio.view(-1))
        self._near += torch.dot(gap.view(-1), ratio.addcmul_(ratio, ratio, value=-unit / 6).view(-1))
        self._drift += gap.sum()
        if difference is not None:  # last: it may share memory with the ratio
            difference.copy_(gap)
        self._unit = unit

    def value(self, *, shared_norm: bool = False) -> Tensor:
        """The sum.

        `shared_norm`: shares and ratios were computed with the same normalisers. Their rounding is in -sum p u, and the
        shares add up to as much more or less than one; sum (q - p) corrects for it.
        """
        plain = self._plain.mul_(-self._unit)
        if shared_norm:
            plain += self._drift
        near = self._near.mul_(self._unit / 2)
        return torch.where(self._furthest * self._unit <= _NEAR[near.dtype], near, plain)
