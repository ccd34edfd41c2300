"""How numbers are computed: the settings of a recipe that torch would otherwise take from its defaults or the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from isoclock.errors import UserError

if TYPE_CHECKING:
    from isoclock.params.schema import Recipe

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""The type of a recipe's `precision`: that of matrix products and convolutions under autocast."""

_OVERRIDE = "NVIDIA_TF32_OVERRIDE"  # NVIDIA's libraries read it, and ignore what torch asks for


def use_arithmetic(recipe: Recipe, device: torch.device) -> None:
    """Set everything in torch that decides how this process computes float32, bf16 and fp16 products.

    `matmul_precision: high` allows TF32 in matrix products and convolutions of float32 on a GPU, `highest` forbids it
    in both. Convolutions are never forced to be deterministic. Sums of bf16 and fp16 products are as in torch's
    defaults. Raises UserError if NVIDIA_TF32_OVERRIDE is set and `device` is a GPU.
    """
    if device.type == "cuda" and _OVERRIDE in os.environ:
        raise UserError(
            f"{_OVERRIDE}: {os.environ[_OVERRIDE]}: overrides matmul_precision (params/training.yaml); unset it"
        )
    torch.set_float32_matmul_precision(recipe.matmul_precision)
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    cudnn.enabled = True
    cudnn.allow_tf32 = recipe.matmul_precision == "high"
    cudnn.benchmark = recipe.cudnn_benchmark
    cudnn.deterministic = False
    matmul.allow_bf16_reduced_precision_reduction = True
    matmul.allow_fp16_reduced_precision_reduction = True
    matmul.allow_fp16_accumulation = False


@contextmanager
def without_benchmark() -> Iterator[None]:
    """Let cuDNN choose its algorithms without trying them: images that are scored have many sizes."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def autocast(precision: str, device: torch.device, *, enabled: bool = True) -> torch.autocast:
    """Autocast to a recipe's `precision`; disabled for fp32, and where `enabled` is False."""
    dtype = None if precision == "fp32" else DTYPES[precision]
    return torch.autocast(device.type, dtype, enabled=enabled and dtype is not None)
