"""What one training iteration of a method costs, in anchor-steps: windows of its steps in turn with windows of the anchor's.

Clock, thermal and node-speed differences cancel in the ratio. PROTOCOL.md states the rules.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from isoclock.budget.memory import peak_mib
from isoclock.models.trained import new_segmenter
from isoclock.training.assemble import open_bench
from isoclock.training.device import synchroniser

if TYPE_CHECKING:
    from isoclock.data.loading.prepared import PreparedData
    from isoclock.params.schema import MethodEntry, Model, ProfileSettings, Recipe
    from isoclock.training.anchor import StepBench

PHASES = ("data", "transfer", "teacher", "student", "loss", "backward", "optimiser", "adversary")
BOOTSTRAP = 2000
SEED = 7

Show = Callable[[int, int, str], None]  # windows done, windows in all, the last one's figures


def profile_bench(
    recipe: Recipe,
    student: Model,
    data: PreparedData,
    device: torch.device,
    *,
    method: Sequence[MethodEntry] = (),
    teacher: Model | None = None,
) -> StepBench:
    """The steps of a method, or of the anchor where there is none."""
    # A teacher of random weights will do: what a step costs does not depend on how well the teacher was trained.
    network = None if teacher is None else new_segmenter(teacher, len(data.classes), initial=False)
    return open_bench(recipe, student, data, device, seed=SEED, method=method, teacher=network)


def measure_pretraining(
    method: StepBench, anchor: StepBench, settings: ProfileSettings, show: Show
) -> dict[str, Any] | None:
    """What a method's pre-training costs before its first iteration: steps, and anchor-steps each. None without one."""
    if not (iterations := method.step.method.pretrain_iterations):
        return None
    method.run(settings.warmup_steps, pretraining=True)
    ratios = []
    for number in range(settings.windows):
        seconds = method.run(settings.steps_per_window, pretraining=True)
        ratios.append(seconds / anchor.run(settings.steps_per_window))
        show(number + 1, settings.windows, f"ratio {ratios[-1]:.3f}")
    return {"iterations": iterations, "ratio": float(np.median(ratios)), **bootstrap_interval(np.array(ratios))}


def measure(method: StepBench, anchor: StepBench, settings: ProfileSettings, show: Show) -> dict[str, Any]:
    """One attempt: windows in turn, a sustained window, and the shares of a step."""
    method.run(settings.warmup_steps)
    anchor.run(settings.warmup_steps)
    windows = []
    for number in range(settings.windows):
        # The order alternates, so that a drift within a window does not always favour the same side.
        sides = [("anchor_s", anchor), ("step_s", method)][:: 1 if number % 2 == 0 else -1]
        seconds = {name: side.run(settings.steps_per_window) for name, side in sides}
        windows.append({**seconds, "ratio": seconds["step_s"] / seconds["anchor_s"]})
        show(number + 1, settings.windows, f"ratio {windows[-1]['ratio']:.3f}")
    ratios = np.array([window["ratio"] for window in windows])
    shares = phase_shares(method, settings.steps_per_window * 2)
    core_s = method.stream.loader_core_s
    sustained_s = method.run(settings.sustained_steps)
    core_s = (method.stream.loader_core_s - core_s) / settings.sustained_steps
    spread = float(np.subtract(*np.percentile(ratios, [75, 25])) / np.median(ratios))
    marks = []
    if spread > settings.max_spread:
        marks.append("noisy")
    workers = method.step.recipe.workers
    # Loader processes fill their buffers while the anchor runs, so that no window waits for them: ask what they can sustain.
    step_s = _quartiles([window["step_s"] for window in windows])
    loader_share = core_s / workers / step_s["median"] if workers else None
    if shares["data"] > settings.max_data_share or (loader_share is not None and loader_share > 1):
        marks.append("input-bound")
    anchor_s = _quartiles([window["anchor_s"] for window in windows])
    return {
        "cost": {"ratio": float(np.median(ratios)), **bootstrap_interval(ratios)},
        "step_s": step_s,
        "anchor_s": anchor_s,
        "windows": windows,
        "spread": spread,
        "sustained_ratio": sustained_s / anchor_s["median"],
        "shares": shares,
        "loader_core_s": core_s,
        "loader_share": loader_share,
        "marks": marks,
        "not_compiled": method.step.compiler.not_compiled,
    }


def bootstrap_interval(ratios: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    """95 % percentile-bootstrap interval of the median ratio, from a fixed seed."""
    random = np.random.default_rng(SEED)
    medians = np.median(random.choice(ratios, size=(BOOTSTRAP, len(ratios))), axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return {"low": float(low), "high": float(high)}


def phase_shares(bench: StepBench, steps: int) -> dict[str, float]:
    """Share of each phase in a step, from steps that wait for the device after every phase (so their sum is not used)."""
    synchronise = synchroniser(bench.step.device)
    spent: dict[str, float] = defaultdict(float)
    last = time.perf_counter()

    def mark(phase: str) -> None:
        nonlocal last
        synchronise()
        now = time.perf_counter()
        spent["data" if phase == "transfer" else phase] += now - last
        last = now

    bench.run(steps, mark)
    total = sum(spent.values())
    return {phase: spent[phase] / total for phase in PHASES if phase != "transfer"}


def memory_and_flops(bench: StepBench, device: torch.device) -> dict[str, Any]:
    """Peak memory of a training step without the anchor in memory, and floating-point operations by part."""
    bench.run(1)  # the optimiser's momentum exists from the second step on
    step = bench.step
    modules = [step.student, step.method, *([step.teacher] if step.teacher is not None else [])]
    resident = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    # Gradients of the step before live on until they are cleared, just before backward.
    resident += [parameter.grad for parameter in step.parameters if parameter.grad is not None]
    resident += [value for state in step.optimiser.state.values() for value in state.values() if torch.is_tensor(value)]
    peak = peak_mib(lambda: bench.run(1), device, resident)
    phases: dict[str, int] = {}
    with FlopCounterMode(display=False) as counter:
        counted = 0

        def mark(phase: str) -> None:
            nonlocal counted
            phases[phase] = counter.get_total_flops() - counted
            counted = counter.get_total_flops()

        bench.run(1, mark)
    gflops = {name: phases[name] / 1e9 for name in ("teacher", "student", "loss", "backward")}
    return {"peak_mib": peak, "gflops": {**gflops, "total": sum(gflops.values())}}


def _quartiles(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"q25": low, "median": median, "q75": high}
