"""The device a run uses, named so that times are compared only where they can be."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("isoclock", "torch", "torchvision", "timm", "segmentation-models-pytorch", "albumentations", "numpy")


def choose_device() -> torch.device:
    """The first CUDA device if there is one, else the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def device_kind(device: torch.device) -> str:
    """Name of the device's model, such as `cuda:NVIDIA H100 80GB HBM3` or `cpu:AMD EPYC 9654`."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_model()
    return f"{device.type}:{name}"


def synchroniser(device: torch.device) -> Callable[[], None]:
    """A function that waits until the device has done what it was given."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def use_threads(threads: int) -> None:
    """Let torch's operators use that many CPU threads: part of the result, since sums are split among them."""
    torch.set_num_threads(threads)
    if device_interop_free():
        torch.set_num_interop_threads(1)


def device_interop_free() -> bool:
    """Whether the number of inter-operator threads can still be set (once a process, before parallel work)."""
    return torch.get_num_interop_threads() != 1


def environment() -> dict[str, str]:
    """Versions of what a result can depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware(device: torch.device) -> dict[str, Any]:
    """What the run computes on."""
    return {
        "device": str(device),
        "device_kind": device_kind(device),
        "threads": torch.get_num_threads(),
        "cpu_cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()
