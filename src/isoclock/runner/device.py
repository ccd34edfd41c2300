"""The device of a process. It determines no number of a run, and is apart from `isoclock.training` for this reason."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from isoclock.errors import UserError
from isoclock.gpus import DEVICE, VISIBLE, lock_one, machine_gpus, promise, visible_devices

# What to do next, by a part of CUDA's message in lower case.
_REMEDIES = {
    "not compiled with cuda": "install a build of torch with CUDA",
    "driver": "install a driver that this torch supports, or request a node that has one",
    "no kernel image": "this torch has no code for the GPU: install one that supports it",
    "out of memory": "another program uses its memory (see nvidia-smi)",
    "busy or unavailable": "another program uses it (see nvidia-smi)",
}
_chosen: torch.device | None = None


def choose_device(title: str = "") -> torch.device:
    """The device of this process: a GPU that no other process of isoclock uses, or the CPU if nothing promises a GPU.

    The first call locks the GPU until the process ends, lets CUDA see that one only (CUDA_VISIBLE_DEVICES), and computes a few
    numbers on it in float32 and bfloat16. `title` is what other processes report of this one (default: its command line).
    ISOCLOCK_DEVICE=cpu chooses the CPU.

    Raises GpuInUse if other processes use all GPUs, and UserError if one is promised but cannot be used (see `gpus.promise`).
    """
    global _chosen
    if _chosen is None:
        _chosen = _open_device(title or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]))
    return _chosen


def _open_device(title: str) -> torch.device:
    if (wanted := os.environ.get(DEVICE, "")) not in ("", "cpu", "cuda"):
        raise UserError(f"{DEVICE}={wanted}: must be cpu or cuda")
    if wanted == "cpu":
        return torch.device("cpu")
    gpus = machine_gpus()
    devices, promised = visible_devices(gpus), promise(gpus)
    if promised is None and (VISIBLE in os.environ or not torch.cuda.is_available()):
        return torch.device("cpu")
    if devices:
        os.environ[VISIBLE] = lock_one(devices, title)
    else:  # no nvidia-smi to list them: CUDA's first one
        lock_one(["0"], title)
    device = torch.device("cuda", 0)
    try:
        for dtype in (torch.float32, torch.bfloat16):
            values = torch.ones(16, 16, dtype=dtype, device=device)
            (values @ values + values).sum().item()
    except (RuntimeError, AssertionError) as error:
        problem = (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0]
        remedy = next((text for part, text in _REMEDIES.items() if part in problem.lower()), "see nvidia-smi")
        raise UserError(
            f"{promised or 'torch finds a GPU'}, but it cannot be used: {problem.rstrip('.')}; {remedy}; "
            f"to use the CPU, set {DEVICE}=cpu"
        ) from None
    return device
