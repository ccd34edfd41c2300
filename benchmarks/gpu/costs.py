"""Parts `costs` and `costs-150`: one entry of each method next to the anchor, in each implementation it has.

A row has the cost in anchor-steps with its interval, kernel launches, the share of a step in which the GPU is busy, peak
memory, energy, and the milliseconds of each phase.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from typing import Any

import torch
from rows import Limit, Rows, in_one_line, part_arguments
from steps import ROOT, SIZES, Steps, steps_of
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from isoclock.budget.nvml import GpuMonitor
from isoclock.methods import cards
from isoclock.params.check import load_params
from isoclock.training.step import TrainingStep

FINISHED, FAILED = 0, 1
ENERGY_S = 0.5  # NVML updates its counter every 0.1 s or so
# fmt: off
ENTRIES = [
    "none", "kd", "cwd", "fitnet", "mgd", "cirkd-small", "ifvd", "bpkd", "skd-pair", "dist", "dkd", "skd-official",
    "cwd-feature", "nkd", "afdcd", "maskd-short", "maskd-head", "at", "rkd", "cc", "crd", "pkd", "raw", "cankd", "gdkd",
    "logit-std",
]
BY_CLASSES = ["none", "kd", "cwd", "ifvd", "bpkd", "dist", "dkd", "nkd", "skd-official", "maskd-head"]
# fmt: on


def main() -> int:
    """Measure row after row in a process of its own, and start another one after a row that ended it.

    A kernel that fails leaves its process without a usable GPU, and must not hide the other entries.
    """
    parser = part_arguments(__doc__)
    parser.add_argument("--size", choices=list(SIZES), default="cityscapes")
    parser.add_argument("--from-row", type=int, help="measure in this process, from that row on")
    arguments = parser.parse_args()
    if arguments.from_row is not None:
        return _measure_rows(arguments)
    rows, limit, first = Rows(arguments.out), Limit(arguments.seconds), 0
    while True:
        command = [sys.executable, __file__, *sys.argv[1:], "--from-row", str(first), "--seconds", str(limit.left_s)]
        status = subprocess.run(command, check=False).returncode
        done = sum(row["kind"] == "cost" for row in rows.read())
        if status == FINISHED:
            break
        if done == first:  # the process ended before it could write a row
            rows.put(kind="cost", **_named(arguments, first), error=f"the process ended with status {status}")
            done += 1
        first = done
    return 0


def _rows(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Entry and implementation of every row."""
    params = load_params(ROOT / "params")
    entries = ENTRIES if arguments.size == "cityscapes" else BY_CLASSES
    entries = entries[:2] if arguments.tiny else entries
    return [(entry, how) for entry in entries for how in cards()[params.method(entry).method].implementations]


def _named(arguments: argparse.Namespace, number: int) -> dict[str, str]:
    entry, implementation = _rows(arguments)[number]
    return {"entry": entry, "implementation": implementation}


def _measure_rows(arguments: argparse.Namespace) -> int:
    """Measure while there is time; rows for which there is none say so."""
    rows, limit = Rows(arguments.out), Limit(arguments.seconds)
    steps = steps_of(arguments, arguments.size, windows=4)
    if arguments.from_row == 0:
        size = steps.size
        rows.put(kind="size", crop=size.crop, batch=size.batch, classes=size.classes, pair=size.pair)
    anchor = steps.build("none")
    for number in range(arguments.from_row, len(_rows(arguments))):
        named = _named(arguments, number)
        if limit.is_over:
            rows.put(kind="cost", **named, skipped="no time left")
            continue
        try:
            rows.put(kind="cost", **named, **measured(steps, named["entry"], named["implementation"], anchor))
        except Exception as error:
            rows.put(kind="cost", **named, error=in_one_line(error))
            return FAILED
    return FINISHED


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
    sys.exit(main())
