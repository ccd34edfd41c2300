"""Samples of the machine while a run trains."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from isoclock.runner.system import SystemSampler

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


class FakeNvml:
    """The functions of NVML that are used; `mig`: those that a MIG instance does not have fail."""

    NVMLError = RuntimeError

    def __init__(self, mig: bool = False) -> None:
        self.mig = mig

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetUtilizationRates(self, _: str) -> Any:
        if self.mig:
            raise RuntimeError("not supported")
        return SimpleNamespace(gpu=97)

    def nvmlDeviceGetMemoryInfo(self, _: str) -> Any:
        return SimpleNamespace(used=20_000_000_000, total=80_000_000_000)

    def nvmlDeviceGetPowerUsage(self, _: str) -> int:
        return 612_000


def proc(folder: Path, busy: int, idle: int) -> Path:
    """A /proc with one core that was busy and idle for so many ticks, and half of 8 GiB in use."""
    (folder / "self").mkdir(parents=True, exist_ok=True)
    (folder / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3\n")
    (folder / "meminfo").write_text("MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 4194304 kB\n")
    (folder / "self" / "statm").write_text("9000 250 10 0 0 0 0\n")
    return folder


def test_a_sample_has_what_was_used_since_the_last(tmp_path: Path) -> None:
    times = iter([0.0, 5.0, 10.0, 15.0, 20.0])
    sampler = SystemSampler(CPU, proc=proc(tmp_path, 100, 100), now=lambda: next(times))
    assert sampler.due() is None
    proc(tmp_path, 175, 125)
    first = sampler.due()
    assert first is not None
    assert (first["cpu_percent"], first["memory_percent"], first["memory_mb"]) == (75.0, 50.0, 4295.0)
    assert first["process_memory_mb"] > 0
    assert sampler.due() is None
    proc(tmp_path, 175, 225)
    second = sampler.due()
    assert second is not None
    assert second["cpu_percent"] == 0.0


def test_a_run_of_any_length_has_some_hundred_samples(tmp_path: Path) -> None:
    clock = [0.0]
    sampler = SystemSampler(CPU, proc=proc(tmp_path, 1, 1), now=lambda: clock[0])
    count = 0
    for second in range(0, 3 * 24 * 3600, 2):
        clock[0] = float(second)
        count += sampler.due() is not None
    assert 500 < count < 800


@pytest.mark.parametrize("mig", [False, True])
def test_a_gpu_is_sampled_as_far_as_it_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mig: bool) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="x"))
    times = iter([0.0, 10.0])
    sample = SystemSampler(GPU, FakeNvml(mig), proc(tmp_path, 1, 1), lambda: next(times)).due()
    assert sample is not None
    assert sample.get("gpu_percent") == (None if mig else 97.0)
    assert (sample["gpu_memory_mb"], sample["gpu_memory_percent"], sample["gpu_power_w"]) == (20_000.0, 25.0, 612.0)


def test_a_system_without_proc_has_no_values(tmp_path: Path) -> None:
    times = iter([0.0, 10.0])
    assert SystemSampler(CPU, proc=tmp_path, now=lambda: next(times)).due() == {}
