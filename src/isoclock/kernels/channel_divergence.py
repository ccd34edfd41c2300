"""KL divergence between the spatial distributions of two maps, channel by channel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from isoclock.kernels.precision import in_loss_precision
from isoclock.kernels.softmax_kl import softmax_kl_sum


def channel_divergence(student: Tensor, teacher: Tensor, temperature: float, *, tuned: bool = False) -> Tensor:
    """T^2 times the mean over B and C of KL(q^T || q^S) for two maps (B, C, h, w), a scalar.

    q is the softmax of a channel's h w values / T.

    The published code takes log of a softmax, which is -inf where that underflows; log_softmax is equal and finite.
    `tuned` computes value and gradient in one sweep, and reads channels-last maps without a copy.
    """
    maps = student.shape[0] * student.shape[1]
    if tuned:
        total = softmax_kl_sum(student.flatten(2), teacher.flatten(2), dim=2, temperature=temperature)
        return total * (temperature**2 / maps)
    student_maps = in_loss_precision(student).flatten(2).flatten(0, 1) / temperature
    teacher_maps = in_loss_precision(teacher).flatten(2).flatten(0, 1) / temperature
    divergence = F.kl_div(F.log_softmax(student_maps, dim=1), F.softmax(teacher_maps, dim=1), reduction="sum")
    return divergence * temperature**2 / maps
