"""The device a run uses, named so that times are compared only where they can be."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from isoclock.training.kind import cpu_kind, gpu_kind


def device_kind(device: torch.device) -> str:
    """All that is known of the device by which its speed differs, in one line: times compare within a kind only.

    Two settings of one machine that lower its instruction set differently are two kinds. See `isoclock.training.kind`.
    """
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return gpu_kind(properties.name, properties.total_memory, properties.multi_processor_count)
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    return cpu_kind(text, _cpu_name(), torch.backends.cpu.get_cpu_capability(), os.environ)


def synchroniser(device: torch.device) -> Callable[[], None]:
    """A function that waits until the device has finished its work."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def use_threads(threads: int) -> None:
    """Let torch's operators use that many CPU threads: part of the result, since sums are split among them."""
    torch.set_num_threads(threads)
    if can_set_interop_threads():
        torch.set_num_interop_threads(1)


def can_set_interop_threads() -> bool:
    """Whether the number of inter-operator threads can still be set (once a process, before parallel work)."""
    return torch.get_num_interop_threads() != 1


def _cpu_name() -> str:
    """A name for a CPU whose system has none in /proc/cpuinfo: macOS knows its brand, others their architecture."""
    if sys.platform == "darwin":
        with suppress(OSError):
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            brand = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
            if brand:
                return brand
    return platform.processor() or platform.machine()
