"""KL divergences of rows of similarities from sums over their tiles, accurate also where S and T are close."""

from __future__ import annotations

import torch
from torch import Tensor

SUMS = 4
"""What is summed over each row: exp S, exp T, exp(T) (S - T) and exp(T) phi(S - T), phi(u) = exp(u) - 1 - u."""


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
