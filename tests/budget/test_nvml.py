from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

import documents
from isoclock.budget.nvml import GpuMonitor
from isoclock.records.profile import GpuState


class Library:
    """What the monitor asks of NVML; a GPU that is slowed by its power limit in every second sample."""

    class NVMLError(Exception):
        pass

    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0

    def __init__(self, *lacking: str) -> None:
        self.lacking, self.samples, self.millijoules = lacking, 0, 5000
        self.sampled = threading.Event()

    def __getattribute__(self, name: str) -> Any:
        if name != "lacking" and name in self.lacking:
            raise self.NVMLError
        return object.__getattribute__(self, name)

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetClockInfo(self, _handle: str, _kind: int) -> int:
        return 1400 + 100 * (self.samples % 2)

    def nvmlDeviceGetMaxClockInfo(self, _handle: str, _kind: int) -> int:
        return 1980

    def nvmlDeviceGetPowerUsage(self, _handle: str) -> int:
        return 650_500

    def nvmlDeviceGetEnforcedPowerLimit(self, _handle: str) -> int:
        return 700_000

    def nvmlDeviceGetTemperature(self, _handle: str, _sensor: int) -> int:
        return 61

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _handle: str) -> int:
        self.samples += 1
        if self.samples == 4:
            self.sampled.set()
        return 0x04 if self.samples % 2 else 0x01

    def nvmlDeviceGetTotalEnergyConsumption(self, _handle: str) -> int:
        self.millijoules += 1500
        return self.millijoules


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU with a UUID, which is sampled without a pause."""
    monkeypatch.setattr("isoclock.budget.nvml.SAMPLE_EVERY_S", 1e-3)
    properties = type("Properties", (), {"uuid": "0-1"})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: properties)


CUDA = torch.device("cuda", 0)


def test_a_gpu_is_sampled_while_the_steps_run() -> None:
    library = Library()
    with GpuMonitor(CUDA, library) as monitor:
        assert library.sampled.wait(60)
    found = GpuState.model_validate(monitor.state())
    assert monitor.energy_j == 1.5
    assert found.samples >= 4
    assert (found.sm_clock_mhz.low, found.sm_clock_mhz.high, found.max_sm_clock_mhz) == (1400, 1500, 1980)
    assert (found.power_w.median, found.power_limit_w, found.temperature_c.high) == (650.5, 700, 61)
    assert list(found.throttled) == ["power limit"], "idling lowers no clock"
    assert 0.4 < found.throttled["power limit"] < 0.7


def test_the_state_of_a_gpu_is_one_line() -> None:
    words = "1755 MHz of 1980, 612 W of 700, 64 degrees C"
    state = GpuState.model_validate(documents.gpu_state())
    assert state.in_words() == f"{words}, not throttled"
    throttled = {"power limit": 0.34, "power brake": 0.01}
    state = GpuState.model_validate(documents.gpu_state(throttled=throttled, power_limit_w=None))
    words = words.replace(" of 700", "")
    assert state.in_words() == f"{words}, throttled: power limit 34% of the time, power brake 1% of the time"


def test_what_a_gpu_does_not_count_is_unknown() -> None:
    lacking = ("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetMaxClockInfo", "nvmlDeviceGetEnforcedPowerLimit")
    library = Library(*lacking)
    with GpuMonitor(CUDA, library) as monitor:
        assert library.sampled.wait(60)
    found = GpuState.model_validate(monitor.state())
    assert (monitor.energy_j, found.max_sm_clock_mhz, found.power_limit_w) == (None, None, None)


def test_a_part_of_a_gpu_has_no_samples() -> None:
    with GpuMonitor(CUDA, Library("nvmlDeviceGetClockInfo")) as monitor:
        pass
    assert monitor.state() is None


def test_without_nvml_and_on_the_cpu_nothing_is_sampled() -> None:
    for device, library in ((CUDA, Library("nvmlInit")), (torch.device("cpu"), Library())):
        with GpuMonitor(device, library) as monitor:
            pass
        assert (monitor.state(), monitor.energy_j) == (None, None)
