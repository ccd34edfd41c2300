"""Clocks, power, temperature, throttling and energy of an NVIDIA GPU, as NVML reports them (package nvidia-ml-py)."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

import torch

SAMPLE_EVERY_S = 0.2
# Reasons for which a GPU lowers its clock, by their bits in NVML. Idling and clocks that a user has set are left out.
REASONS = {
    0x04: "power limit",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "temperature (driver)",
    0x40: "temperature (hardware)",
    0x80: "power brake",
}


class GpuMonitor:
    """Samples a GPU in a thread while the context is open. On the CPU, and without NVML, it does nothing.

    All values are of the whole GPU: work of other processes on it is included.
    """

    def __init__(self, device: torch.device, nvml: Any = None) -> None:
        self._nvml, self._handle = open_nvml(device, nvml)
        self._samples: list[tuple[int, float, int, int]] = []  # MHz, W, degrees Celsius, bits of reasons
        self._before_j: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.energy_j: float | None = None  # of the time in the context; None if the GPU does not count it

    def __enter__(self) -> GpuMonitor:
        if self._handle is not None:
            self._before_j = self._energy_j()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            after_j = self._energy_j()
            self._stop.set()
            self._thread.join()
            if self._before_j is not None and after_j is not None:
                self.energy_j = after_j - self._before_j

    def state(self) -> dict[str, Any] | None:
        """The samples as `isoclock.records.profile.GpuState` has them; None without a sample."""
        if not self._samples:
            return None
        clocks, watts, celsius, bits = zip(*self._samples, strict=True)
        throttled = {name: statistics.fmean(bool(found & bit) for found in bits) for bit, name in REASONS.items()}
        return {
            "samples": len(self._samples),
            "sm_clock_mhz": _range(clocks),
            "max_sm_clock_mhz": self._asked(lambda n, h: float(n.nvmlDeviceGetMaxClockInfo(h, n.NVML_CLOCK_SM))),
            "power_w": _range(watts),
            "power_limit_w": self._asked(lambda n, h: n.nvmlDeviceGetEnforcedPowerLimit(h) / 1000),
            "temperature_c": _range(celsius),
            "throttled": {name: share for name, share in throttled.items() if share},
        }

    def _sample(self) -> None:
        nvml, handle = self._nvml, self._handle
        while True:
            with suppress(nvml.NVMLError):  # a GPU that lacks one of them, such as a MIG instance, has no samples
                sample = (
                    nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
                    nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
                    nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
                    nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
                )
                self._samples.append(sample)
            if self._stop.wait(SAMPLE_EVERY_S):
                return

    def _energy_j(self) -> float | None:
        return self._asked(lambda nvml, handle: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000)

    def _asked(self, question: Callable[[Any, Any], float]) -> float | None:
        try:
            return question(self._nvml, self._handle)
        except self._nvml.NVMLError:
            return None


def open_nvml(device: torch.device, nvml: Any) -> tuple[Any, Any]:
    """The library and the handle of a device; None and None on the CPU, without the package and without the library."""
    if device.type != "cuda":
        return None, None
    if nvml is None:
        try:
            import pynvml
        except ImportError:
            return None, None
        nvml = pynvml
    try:
        nvml.nvmlInit()
        # Not by its index: NVML counts all GPUs of the machine, torch those that this process may use.
        return nvml, nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except nvml.NVMLError:
        return None, None


def _range(values: tuple[float, ...]) -> dict[str, float]:
    return {"low": float(min(values)), "median": float(statistics.median(values)), "high": float(max(values))}
