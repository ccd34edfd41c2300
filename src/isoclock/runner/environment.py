"""What a result was made with: versions of packages, and hardware. Recorded, and read by nothing that computes."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from isoclock.training.device import device_kind

PACKAGES = ("isoclock", "torch", "torchvision", "timm", "segmentation-models-pytorch", "albumentations", "numpy")
DRIVER = Path("/proc/driver/nvidia/version")


def environment(device: torch.device) -> dict[str, str]:
    """Versions of what a result can depend on; of CUDA, cuDNN and the driver (if known) where `device` is a GPU.

    `commit` is the Git commit of the working directory, where there is one, with `-dirty` if tracked files differ from it.
    """
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    driver_version = driver() if device.type == "cuda" else None
    others = {**cuda_versions(device), "driver": driver_version, "commit": commit()}
    return found | {name: value for name, value in others.items() if value is not None}


def commit() -> str | None:
    """Git commit of the working directory, with `-dirty` if tracked files differ from it; None without Git or a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = done.stdout.strip()
    return found if done.returncode == 0 and found else None


def cuda_versions(device: torch.device) -> dict[str, str | None]:
    """Versions of CUDA and cuDNN that torch uses; None on a CPU. Bits and times of a run depend on them."""
    if device.type != "cuda":
        return {"cuda": None, "cudnn": None}
    cudnn = torch.backends.cudnn.version()
    return {"cuda": torch.version.cuda, "cudnn": None if cudnn is None else str(cudnn)}


def driver() -> str | None:
    """Version of the NVIDIA driver, such as 570.86.15; None if it is not known."""
    try:
        text = DRIVER.read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"\b\d{3,}(?:\.\d+)+\b", text)
    return None if found is None else found[0]


def hardware(device: torch.device) -> dict[str, Any]:
    """What the run computes on."""
    return {
        "device": str(device),
        "device_kind": device_kind(device),
        "threads": torch.get_num_threads(),
        "cpu_cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
    }
