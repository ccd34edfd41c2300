"""Similarities of unit vectors, and KL divergences of their rows from sums over tiles, accurate also where S and T are close."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.kernels.precision import in_loss_precision

SUMS = 4
"""What is summed over each row: exp S, exp T, exp(T) (S - T) and exp(T) phi(S - T), phi(u) = exp(u) - 1 - u."""


def unit_rows(feature: Tensor) -> Tensor:
    """The vectors of (B, C, h, w) at unit length, in loss precision: (B h w, C), image after image."""
    return F.normalize(in_loss_precision(feature), dim=1).permute(0, 2, 3, 1).flatten(0, 2)


def product_(rows: Tensor, columns: Tensor, out: Tensor) -> Tensor:
    """rows columns^t, written to `out`. A type that is shorter than that of `out` rounds the products, as autocast does."""
    if rows.dtype == out.dtype:
        return torch.mm(rows, columns.t(), out=out)
    return out.copy_(torch.mm(rows, columns.t()))


def summands_(both: Tensor, rest: Tensor) -> None:
    """In place, from S and T in `both` (2, rows, columns) to the `SUMS` summands of each entry, two of them in `rest`."""
    torch.sub(both[0], both[1], out=rest[0])  # nearly exact where the two are close
    torch.expm1(rest[0], out=rest[1])
    rest[1].sub_(rest[0])
    rest.mul_(both.exp_()[1])


def divergence(sums: Tensor) -> Tensor:
    """KL(softmax T || softmax S) of each row, from (4, ...) sums, in their precision.

    With u = S - T, E the mean under softmax T and r = Z^S / Z^T the ratio of the sums of exponentials, KL is
    log r - E u, whose parts are of first order in u and cancel where S and T are close. It is also
    E phi(u) - (r - 1 - log r), whose parts are of second order and positive; but those grow with exp u. Each row uses
    the form whose parts are smaller, as rounding is proportional to them. The last steps are in float64.
    """
    of_student, of_teacher, gap, rest = sums.double()
    ratio = of_student / of_teacher
    logarithm = ratio.log()
    first, second = gap / of_teacher, rest / of_teacher
    excess = ratio - 1 - logarithm
    near = second + excess < first.abs() + logarithm.abs()
    return torch.where(near, second - excess, logarithm - first).to(sums.dtype)
