"""Use of CPU, memory and GPU while a run trains, for its ledger. Reads /proc and NVML, which take about 0.1 ms."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from isoclock.budget.nvml import open_nvml

EVERY_S = 10.0  # at least, between two samples
SHARE = 0.01  # of the time since the start, at least: a run of any length has some hundred samples
_MB = 1e6
_PROC = Path("/proc")


class SystemSampler:
    """Samples the machine now and then. CPU and memory are those of the machine, GPU values those of the run's GPU.

    Work of other processes is included. What the system does not tell is left out.
    """

    def __init__(
        self, device: torch.device, nvml: Any = None, proc: Path = _PROC, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._nvml, self._handle = open_nvml(device, nvml)
        self._proc, self._now = proc, now
        self._started_s = self._sampled_s = now()
        self._cpu = self._cpu_ticks()

    def due(self) -> dict[str, float] | None:
        """A sample, if the last one is long enough ago; percentages are 0..100, memory is in MB (1e6 bytes), power in W."""
        now_s = self._now()
        if now_s - self._sampled_s < max(EVERY_S, SHARE * (now_s - self._started_s)):
            return None
        self._sampled_s = now_s
        return self._cpu_use() | self._memory() | self._gpu()

    def _cpu_use(self) -> dict[str, float]:
        """Share of all cores that was busy since the last sample."""
        before, self._cpu = self._cpu, self._cpu_ticks()
        if before is None or self._cpu is None or self._cpu[1] <= before[1]:
            return {}
        return {"cpu_percent": round(100 * (self._cpu[0] - before[0]) / (self._cpu[1] - before[1]), 1)}

    def _cpu_ticks(self) -> tuple[int, int] | None:
        """Busy and all ticks of all cores since the machine started."""
        with suppress(OSError, ValueError):
            ticks = [int(field) for field in (self._proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
            return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # without idle and iowait
        return None

    def _memory(self) -> dict[str, float]:
        with suppress(OSError, ValueError, KeyError):
            lines = (self._proc / "meminfo").read_text().splitlines()
            kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
            used, total = kib["MemTotal"] - kib["MemAvailable"], kib["MemTotal"]
            pages = int((self._proc / "self" / "statm").read_text().split()[1])
            return {
                "memory_mb": round(used * 1024 / _MB, 1),
                "memory_percent": round(100 * used / total, 1),
                "process_memory_mb": round(pages * os.sysconf("SC_PAGE_SIZE") / _MB, 1),
            }
        return {}

    def _gpu(self) -> dict[str, float]:
        nvml, handle = self._nvml, self._handle
        found: dict[str, float] = {}
        if handle is None:
            return found
        with suppress(nvml.NVMLError):  # a MIG instance does not have it
            found["gpu_percent"] = float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        with suppress(nvml.NVMLError):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            found["gpu_memory_mb"] = round(memory.used / _MB, 1)
            found["gpu_memory_percent"] = round(100 * memory.used / memory.total, 1)
        with suppress(nvml.NVMLError):
            found["gpu_power_w"] = nvml.nvmlDeviceGetPowerUsage(handle) / 1000
        return found
