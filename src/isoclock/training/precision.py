"""Whether a device computes a recipe's precision as fast as float32.

Older CPUs emulate bf16, as do V100 and T4; most CPUs emulate fp16.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from isoclock.errors import ParamsError
from isoclock.training.arithmetic import DTYPES
from isoclock.training.device import device_kind, synchroniser

if TYPE_CHECKING:
    from isoclock.params.schema import Recipe

SLOWER = 1.5  # times float32, from which on a precision counts as slow
_SIDE = {"cpu": 256, "cuda": 2048}  # rows and columns: milliseconds, and enough work to fill the device
_REPEATS = 3


@cache
def slowdown(precision: str, device: torch.device) -> float:
    """Time of a matrix product in `precision` over its time in float32 on `device`: 1.0 for fp32, below 1 where it is faster.

    The fastest of a few repetitions on one CPU thread, a few milliseconds each (longer where the precision is emulated).
    """
    if precision == "fp32":
        return 1.0
    threads, products = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")  # without TF32
    try:
        return _product_s(DTYPES[precision], device) / _product_s(torch.float32, device)
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(products)


def check_precision(
    recipe: Recipe,
    dataset: str,
    device: torch.device,
    params_folder: Path,
    *,
    study: bool,
    warn: Callable[[str], None] | None = None,
) -> None:
    """Warn in one line that the recipe's precision is slow on this device. Raises ParamsError instead if `study`.

    `warn` prints the line (default: to stderr).
    """
    slower = slowdown(recipe.precision, device)
    if slower <= SLOWER:
        return
    problem = (
        f"{params_folder / 'training.yaml'}: {dataset}: precision: {recipe.precision}: a matrix product takes {slower:.3g} "
        f"times as long as in fp32 on {device_kind(device)}"
    )
    if study:
        raise ParamsError(f"{problem}, which a study does not allow; set `precision: fp32`, or use another device")
    (warn or _print)(f"{problem}; set `precision: fp32`")


def _print(line: str) -> None:
    print(f"isoclock: {line}", file=sys.stderr, flush=True)


def _product_s(dtype: torch.dtype, device: torch.device) -> float:
    side = _SIDE.get(device.type, _SIDE["cuda"])
    left = torch.ones(side, side, dtype=dtype, device=device)
    synchronise = synchroniser(device)
    fastest = float("inf")
    for _ in range(1 + _REPEATS):  # the first one also loads what it needs
        synchronise()
        started = time.perf_counter()
        left @ left
        synchronise()
        fastest = min(fastest, time.perf_counter() - started)
    return fastest
