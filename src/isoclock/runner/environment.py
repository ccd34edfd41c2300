"""What a result was made with: versions of packages, and hardware. Recorded, and read by nothing that computes."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from isoclock.training.device import device_kind

PACKAGES = ("isoclock", "torch", "torchvision", "timm", "segmentation-models-pytorch", "albumentations", "numpy")


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
