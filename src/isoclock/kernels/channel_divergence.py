"""KL divergence between the spatial distributions of two maps, channel by channel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from isoclock.kernels.precision import in_loss_precision

TORCH_DISTILLER, MMRAZOR = "torchdistiller", "mmrazor"


def channel_divergence(student: Tensor, teacher: Tensor, temperature: float, form: str = TORCH_DISTILLER) -> Tensor:
    """T^2 times the mean over B and C of KL(q^T || q^S) for two maps (B, C, h, w), a scalar.

    q is the softmax of a channel's h w values / T.

    `form` is the order of work, as in one of two published codes: torch's kl_div, or a product with the difference of two
    log_softmax. TorchDistiller takes log of a softmax, which is -inf where that underflows; log_softmax is equal and finite.
    """
    maps = student.shape[0] * student.shape[1]
    student_maps = in_loss_precision(student).flatten(2).flatten(0, 1) / temperature
    teacher_maps = in_loss_precision(teacher).flatten(2).flatten(0, 1) / temperature
    ours, theirs = F.log_softmax(student_maps, dim=1), F.softmax(teacher_maps, dim=1)
    if form == MMRAZOR:
        divergence = (theirs * F.log_softmax(teacher_maps, dim=1) - theirs * ours).sum()
    else:
        divergence = F.kl_div(ours, theirs, reduction="sum")
    return divergence * temperature**2 / maps
