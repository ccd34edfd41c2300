"""The mini-batch term of CIRKD: every pixel against every pixel of every image, as published and without an N x N map."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from isoclock.kernels.precision import in_loss_precision, product_dtype
from isoclock.methods.cirkd import streamed_pairs
from isoclock.methods.cirkd.divergence import divergence, unit_rows

LEAST_CAPABILITY = (8, 0)
"""Of a GPU for the Triton kernels: from there on tensor cores multiply bfloat16 and TF32."""


def pairwise_divergence(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    """The mini-batch term of `CIRKD`, as published: a loop over pairs of images, each with its N x N maps."""
    ours, theirs = (F.normalize(in_loss_precision(feature), dim=1).flatten(2) for feature in (student, teacher))
    total = ours.new_zeros(())
    for i in range(len(ours)):
        for j in range(len(ours)):
            student_map = in_loss_precision(torch.mm(ours[i].t(), ours[j]))
            teacher_map = in_loss_precision(torch.mm(theirs[i].t(), theirs[j]))
            log_student = F.log_softmax(student_map / tau, dim=1)
            of_teacher = F.softmax(teacher_map / tau, dim=1)
            total = total + F.kl_div(log_student, of_teacher, reduction="batchmean")
    return total / len(ours) ** 2


def pairwise_implementation(device: torch.device, dtype: torch.dtype) -> str:
    """How the tuned term is computed for products of `dtype`: "triton", or "streamed" (tiles in torch).

    Triton needs a GPU of `LEAST_CAPABILITY`, the package `triton`, and products that tensor cores compute: bfloat16,
    float16, or float32 where the float32 matmul precision allows TF32.
    """
    short = dtype in (torch.bfloat16, torch.float16)
    on_tensor_cores = short or (dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest")
    if not (on_tensor_cores and device.type == "cuda" and torch.cuda.is_available() and find_spec("triton")):
        return "streamed"
    return "triton" if torch.cuda.get_device_capability(device) >= LEAST_CAPABILITY else "streamed"


def fast_pairwise_divergence(student: Tensor, teacher: Tensor, tau: float, way: str | None = None) -> Tensor:
    """The same without an N x N map, by `pairwise_implementation` or another `way`; see `_Pairs`."""
    dtype = product_dtype(student)
    way = way or pairwise_implementation(student.device, dtype)
    value: Tensor = _Pairs.apply(unit_rows(student), unit_rows(teacher), len(student), tau, dtype, way)
    return value


def _passes(way: str) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    if way == "streamed":
        return streamed_pairs.sums, streamed_pairs.gradient
    from isoclock.methods.cirkd import triton_pairs  # needs the package triton

    return triton_pairs.sums, triton_pairs.gradient


class _Pairs(torch.autograd.Function):
    """Value and gradient from unit vectors (B N, C), image after image, in two passes over tiles of one (B N)^2 problem.

    With X and Y the vectors over sqrt(tau), S = X X^t and T = Y Y^t are symmetric, and so are their exponentials, which
    need no shift: |S| <= 1 / tau. Pass one sums what `divergence` needs over each image's columns. With Z the sums of
    exponentials of a row over image j, pass two has G + G^t of a tile at once, G_rc = exp(S_rc) / Z^S_rj - exp(T_rc) /
    Z^T_rj, and adds (G + G^t) X to the gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, ours: Tensor, theirs: Tensor, images: int, tau: float, dtype: torch.dtype, way: str
    ) -> Tensor:
        with torch.autocast(ours.device.type, enabled=False):
            x, y = (rows.mul(tau**-0.5).to(dtype) for rows in (ours, theirs))
            sums_of, gradient_of = _passes(way)
            sums = sums_of(x, y, images)
            value = divergence(sums).mean()
            if ctx.needs_input_grad[0]:
                pixels = len(ours) // images
                weight = min(pixels, 1 << 8)  # so that G, about 1 / pixels, and its sums are in float16's range
                gradient = gradient_of(x, y, weight / sums[:2])
                ctx.save_for_backward(gradient.mul_(1 / (tau**0.5 * weight * images**2 * pixels)))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None, None, None, None
