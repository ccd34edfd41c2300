"""The task loss of both heads, value and gradient: with torch functions on the whole upsampled map, and by strips.

In turns, in one process, at the sizes of the demo student, Cityscapes and ADE20K. With `ATEN_CPU_CAPABILITY=avx2` it measures
what a CPU without AVX-512 has.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import Result, in_turns, pairwise, show
from torch import Tensor

from isoclock.training.task_loss import IGNORE, Labels, upsampled_cross_entropy

AUX_WEIGHT = 0.4
STRIDE = 8


@dataclass(frozen=True)
class Case:
    """Images, classes, and the size of the labels."""

    name: str
    images: int
    classes: int
    size: tuple[int, int]


CASES = (
    Case("demo", 8, 19, (64, 128)),
    Case("Cityscapes", 2, 19, (512, 1024)),
    Case("ADE20K", 2, 150, (512, 512)),
)


def measure(rounds: int = 9, threads: tuple[int, ...] = (1, 2), scale: int = 1) -> Result:
    """Measure one sample per variant and round, after comparing gradients; `scale` divides the sides of the larger sizes."""
    times_s: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    before = torch.get_num_threads()
    try:
        for case in CASES:
            ways = {name: partial(_timed, way) for name, way in _ways(case, scale).items()}
            for count in threads:
                torch.set_num_threads(count)
                found = in_turns(rounds, **ways)
                name = f"{case.name}, {count} thread{'s' if count > 1 else ''}"
                times_s |= {f"{name}: {way}": samples for way, samples in found.items()}
                ratios[f"{name}: plain / strips"] = pairwise(found["plain"], found["strips"])
    finally:
        torch.set_num_threads(before)
    return Result(
        "task_loss",
        "cross-entropy of logits and auxiliary logits (bf16, channels-last) at full size, forward and backward",
        times_s,
        ratios,
        settings={"cases": {case.name: [case.images, case.classes, *case.size] for case in CASES}, "scale": scale},
        says=(f"on {_cpu()}; torch computes with {torch.backends.cpu.get_cpu_capability()}",),
    )


def _ways(case: Case, scale: int) -> dict[str, Callable[[], tuple[Tensor, ...]]]:
    """Both variants of the loss and its two gradients, on the same logits; compares their results."""
    random = torch.Generator().manual_seed(0)
    full = tuple(side // scale if case.name != "demo" else side for side in case.size)
    shape = (case.images, case.classes, *(side // STRIDE for side in full))
    heads = [
        (3 * torch.randn(shape, generator=random))
        .bfloat16()
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_()
        for _ in range(2)
    ]
    target = torch.randint(0, case.classes, (case.images, *full), generator=random)
    target[torch.rand(target.shape, generator=random) < 0.1] = IGNORE
    pixel_weight = torch.zeros(256)
    pixel_weight[: case.classes] = 1.0

    def plain_loss(logits: Tensor) -> Tensor:
        upsampled = F.interpolate(logits.float(), size=full, mode="bilinear", align_corners=False)
        summed = F.cross_entropy(upsampled, target, ignore_index=IGNORE, reduction="sum")
        return summed / pixel_weight[target].sum().clamp(min=torch.finfo(torch.float32).tiny)

    def plain() -> tuple[Tensor, ...]:
        return torch.autograd.grad(plain_loss(heads[0]) + AUX_WEIGHT * plain_loss(heads[1]), heads)

    def strips() -> tuple[Tensor, ...]:
        labels = Labels(target, pixel_weight)
        main, aux = (upsampled_cross_entropy(logits, labels) for logits in heads)
        return torch.autograd.grad(main + AUX_WEIGHT * aux, heads)

    for theirs, ours in zip(plain(), strips(), strict=True):
        if (theirs.double() - ours.double()).norm() > 0.01 * theirs.double().norm():
            raise RuntimeError("the two ways find different gradients: there is nothing to time")
    return {"plain": plain, "strips": strips}


def _timed(way: Callable[[], tuple[Tensor, ...]]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def _cpu() -> str:
    """Name of the CPU."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return "an unnamed CPU"


if __name__ == "__main__":
    show([measure()])
