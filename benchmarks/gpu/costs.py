"""Parts `costs` and `costs-150`: one entry of each method next to the anchor, in each implementation it has.

A row has the cost in anchor-steps with its interval, kernel launches, the share of a step in which the GPU is busy, peak
memory, energy, and the milliseconds of each phase.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from rows import Limit, Rows, part_arguments
from steps import SIZES, Steps, steps_of
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from isoclock.budget.nvml import GpuMonitor
from isoclock.training.step import TrainingStep

ENERGY_S = 0.5  # NVML updates its counter every 0.1 s or so
# fmt: off
ENTRIES = [
    "none", "kd", "cwd", "fitnet", "mgd", "cirkd-small", "ifvd", "bpkd", "skd-pair", "dist", "dkd", "skd-official",
    "cwd-feature", "nkd", "afdcd", "maskd-short", "maskd-head", "at", "rkd", "cc", "crd", "pkd", "raw",
]
BY_CLASSES = ["none", "kd", "cwd", "ifvd", "bpkd", "dist", "dkd", "nkd", "skd-official", "maskd-head"]
# fmt: on


def main() -> None:
    """Measure entries while there is time; the others get a row that says so."""
    parser = part_arguments(__doc__)
    parser.add_argument("--size", choices=list(SIZES), default="cityscapes")
    parser.add_argument("--entry", action="append", help="this entry only; may be repeated")
    arguments = parser.parse_args()
    rows, limit = Rows(arguments.out), Limit(arguments.seconds)
    steps = steps_of(arguments, arguments.size)
    anchor = steps.build("none")
    entries = arguments.entry or (ENTRIES if arguments.size == "cityscapes" else BY_CLASSES)
    entries = entries[:2] if arguments.tiny else entries
    rows.put(
        kind="size", crop=steps.size.crop, batch=steps.size.batch, classes=steps.size.classes, pair=steps.size.pair
    )
    for entry in entries:
        for implementation in steps.implementations(entry):
            named = {"kind": "cost", "entry": entry, "implementation": implementation}
            if limit.is_over:
                rows.put(**named, skipped="no time left")
                continue
            try:
                rows.put(**named, **measured(steps, entry, implementation, anchor))
            except Exception as error:  # one entry that fails must not hide the others
                rows.put(**named, error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def measured(steps: Steps, entry: str, implementation: str, anchor: TrainingStep) -> dict[str, Any]:
    """The figures of one row."""
    started = time.monotonic()
    step = steps.build(entry, implementation)
    cost = steps.compare(steps.call(step), steps.call(anchor))
    losses = step(steps.batches[0], 1e-5)
    found = {
        **cost,
        **_host_and_peak(steps, step),
        "phases_ms": _phases(steps, step),
        **_kernels(steps, step, cost["step_ms"]),
        "step_j": _energy_j(steps, step, cost["step_ms"]),
        "finite": all(bool(torch.isfinite(value)) for value in losses.terms.values()),
    }
    if step.method.pretrain_iterations:
        pretrain = lambda number: step.pretrain(steps.batches[number % 3], 0.5)  # noqa: E731
        steps.seconds(pretrain, 2)
        found["pretrain_ms"] = steps.seconds(pretrain, 4) * 1e3
    return {**found, "took_s": round(time.monotonic() - started, 1)}


def _host_and_peak(steps: Steps, step: TrainingStep) -> dict[str, float | None]:
    """Milliseconds until the host has issued a step, and the allocator's peak, MiB."""
    cuda = steps.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    steps.synchronise()
    started = time.perf_counter()
    step(steps.batches[0], 1e-5)
    host_s = time.perf_counter() - started
    steps.synchronise()
    peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else None
    return {"host_ms": host_s * 1e3, "peak_mib": peak}


def _phases(steps: Steps, step: TrainingStep) -> dict[str, float]:
    """Milliseconds of each phase, from steps that wait for the device after every phase."""
    spent: dict[str, float] = {}
    count, last = 2, 0.0

    def mark(phase: str) -> None:
        nonlocal last
        steps.synchronise()
        now = time.perf_counter()
        spent[phase] = spent.get(phase, 0.0) + (now - last) / count * 1e3
        last = now

    for batch in steps.batches[:count]:
        steps.synchronise()
        last = time.perf_counter()
        step(batch, 1e-5, mark)
    return spent


def _energy_j(steps: Steps, step: TrainingStep, step_ms: float) -> float | None:
    """Joules of a step, from steps of about half a second; None where the GPU does not count them."""
    count = max(1, round(ENERGY_S / (step_ms / 1e3)))
    with GpuMonitor(steps.device) as monitor:
        steps.window(step, count)
    return None if monitor.energy_j is None else monitor.energy_j / count


def _kernels(steps: Steps, step: TrainingStep, step_ms: float) -> dict[str, Any]:
    """Launches of a step, the share of it in which kernels run, and the operators that take longest."""
    if steps.device.type != "cuda":
        return {}
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        step(steps.batches[1], 1e-5)
        steps.synchronise()
    kernels = [event for event in profiler.events() if event.device_type == DeviceType.CUDA]
    busy_ms = sum(event.device_time_total for event in kernels) / 1e3
    longest = sorted(profiler.key_averages(), key=lambda event: -event.self_device_time_total)[:6]
    return {
        "launches": len(kernels),
        "busy_share": min(1.0, busy_ms / step_ms),
        "longest_ms": {event.key[:60]: round(event.self_device_time_total / 1e3, 2) for event in longest},
    }


if __name__ == "__main__":
    main()
