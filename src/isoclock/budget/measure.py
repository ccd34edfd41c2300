"""What one training iteration of a method costs, in anchor-steps: windows of its steps in turn with windows of the anchor's.

Clock, thermal and node-speed differences cancel in the ratio. PROTOCOL.md states the rules.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from isoclock.budget.memory import peak_mib
from isoclock.budget.nvml import GpuMonitor
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
SENSITIVITY_WINDOWS = 5
SENSITIVITY_WINDOW_S = 0.5  # of the anchor's steps
SENSITIVITY_WARMUP_STEPS = 3
FEWEST = 3  # windows, however long they take
SHORT_WINDOWS = 3  # of the warm-up, of which the median counts
WARM_UP_SHARE = 0.25  # of `max_s`, at most

Show = Callable[[int, int, str], None]  # seconds done, seconds at most, figures
Run = Callable[[int], float]  # does that many steps and returns seconds a step


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
    windows = alternate(partial(method.run, pretraining=True), anchor.run, settings, show)
    return {"iterations": iterations, **cost_of(windows)}


def measure(method: StepBench, anchor: StepBench, settings: ProfileSettings, show: Show) -> dict[str, Any]:
    """Windows in turn, a sustained window, the shares of a step, and the pre-training."""
    windows = alternate(method.run, anchor.run, settings, show)
    step_s, anchor_s = (_quartiles([window[side] for window in windows]) for side in ("step_s", "anchor_s"))
    shares = phase_shares(method, 2 * steps_for(settings.window_s, step_s["median"]))
    steps = steps_for(settings.sustained_s, step_s["median"])
    core_s = method.stream.loader_core_s
    with GpuMonitor(method.step.device) as gpu:
        sustained_s = method.run(steps)
    core_s = (method.stream.loader_core_s - core_s) / steps
    workers = method.step.recipe.workers
    # Loader processes fill their buffers while the anchor runs, so that no window waits for them: ask what they can sustain.
    loader_share = core_s / workers / step_s["median"] if workers else None
    cost = cost_of(windows)
    pretrain = measure_pretraining(method, anchor, settings, show)
    marks = []
    if any(half_width(found) > settings.half_width for found in (cost, pretrain) if found is not None):
        marks.append("noisy")
    if shares["data"] > settings.max_data_share or (loader_share is not None and loader_share > 1):
        marks.append("input-bound")
    return {
        "cost": cost,
        "step_s": step_s,
        "anchor_s": anchor_s,
        "windows": windows,
        "sustained_ratio": sustained_s / anchor_s["median"],
        "shares": shares,
        "loader_core_s": core_s,
        "loader_share": loader_share,
        "pretrain": pretrain,
        "energy_j": None if gpu.energy_j is None else gpu.energy_j / steps,
        "gpu": gpu.state(),
        "marks": marks,
        "not_compiled": method.step.compiler.not_compiled,
    }


def measure_sensitivity(open_bench: Callable[[bool, Recipe], StepBench], recipe: Recipe, show: Show) -> dict[str, Any]:
    """Cost of the method with its losses in the other `loss_precision`, from a few windows in turn with the anchor's.

    `open_bench(with_method, recipe)` opens the steps of the method or of the anchor.
    """
    other = "fp32" if recipe.loss_precision == "autocast" else "autocast"
    changed = recipe.model_copy(update={"loss_precision": other})
    method, anchor = open_bench(True, changed), open_bench(False, changed)
    for side in (method, anchor):
        side.run(SENSITIVITY_WARMUP_STEPS)
    steps = steps_for(SENSITIVITY_WINDOW_S, anchor.run(1))
    windows = []
    for number in range(SENSITIVITY_WINDOWS):
        windows.append({"ratio": method.run(steps) / anchor.run(steps)})
        show(number + 1, SENSITIVITY_WINDOWS, f"ratio {windows[-1]['ratio']:.3f}")
    return {"loss_precision": other, **cost_of(windows)}


def alternate(method: Run, anchor: Run, settings: ProfileSettings, show: Show) -> list[dict[str, float]]:
    """Warm both up, then windows of one in turn with windows of the other; seconds of a step of each, and their ratio.

    They end when the interval of the ratio is narrow enough, or, after three at least, when `max_s` are over.
    """
    runs = {"anchor_s": anchor, "step_s": method}
    steps = {side: steps_for(settings.window_s, warm_up(run, settings)) for side, run in runs.items()}
    windows: list[dict[str, float]] = []
    spent_s, width = 0.0, math.inf
    while len(windows) < FEWEST or (
        spent_s < settings.max_s and (len(windows) < settings.min_windows or width > settings.half_width)
    ):
        # The order alternates, so that a drift within a window does not always favour the same side.
        order = list(runs)[:: 1 if len(windows) % 2 == 0 else -1]
        seconds = {side: runs[side](steps[side]) for side in order}
        windows.append({**seconds, "ratio": seconds["step_s"] / seconds["anchor_s"]})
        spent_s += sum(steps[side] * seconds[side] for side in order)
        cost = cost_of(windows)
        width = half_width(cost)
        figures = f"{len(windows)} windows, ratio {cost['ratio']:.3f} +- {width:.1%}"
        show(min(round(spent_s), round(settings.max_s)), round(settings.max_s), figures)
    return windows


def warm_up(run: Run, settings: ProfileSettings) -> float:
    """Run until step times have settled. Returns seconds a step.

    They have settled if the median of a few short windows differs from the one before by at most `half_width`. The first
    step, which loads modules, tunes and compiles, does not count. After a quarter of `max_s` it ends in any case.
    """
    run(1)
    spent_s = step_s = run(1)
    before_s = math.inf
    while abs(step_s / before_s - 1) > settings.half_width and spent_s < WARM_UP_SHARE * settings.max_s:
        steps = steps_for(settings.window_s / SHORT_WINDOWS, step_s)
        found = [run(steps) for _ in range(SHORT_WINDOWS)]
        spent_s += steps * sum(found)
        before_s, step_s = step_s, statistics.median(found)
    return step_s


def steps_for(seconds: float, step_s: float) -> int:
    """How many steps of `step_s` seconds take about `seconds`; at least one."""
    return max(1, round(seconds / step_s))


def cost_of(windows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median ratio of windows, and its 95 % interval."""
    ratios = np.array([window["ratio"] for window in windows])
    return {"ratio": float(np.median(ratios)), **bootstrap_interval(ratios)}


def half_width(cost: Mapping[str, float]) -> float:
    """Half the width of a ratio's interval, over the ratio."""
    return (cost["high"] - cost["low"]) / 2 / cost["ratio"]


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


def peak_memory(bench: StepBench, device: torch.device) -> float:
    """Peak MiB of a training step, without the anchor in memory."""
    bench.run(3)  # the optimiser's momentum exists from the second step on, a CUDA graph from the third
    step = bench.step
    modules = [step.student, step.method, *([step.teacher] if step.teacher is not None else [])]
    resident = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    # Gradients of the step before live on until they are cleared, just before backward.
    resident += [parameter.grad for parameter in step.parameters if parameter.grad is not None]
    resident += [value for state in step.optimiser.state.values() for value in state.values() if torch.is_tensor(value)]
    return peak_mib(lambda: bench.run(1), device, resident)


def count_flops(bench: StepBench) -> dict[str, float]:
    """Floating-point operations of a training step by part, in 1e9. Operators in compiled code are not counted."""
    phases: dict[str, int] = {}
    with FlopCounterMode(display=False) as counter:
        counted = 0

        def mark(phase: str) -> None:
            nonlocal counted
            phases[phase] = counter.get_total_flops() - counted
            counted = counter.get_total_flops()

        bench.run(1, mark)
    gflops = {name: phases[name] / 1e9 for name in ("teacher", "student", "loss", "backward")}
    return {**gflops, "total": sum(gflops.values())}


def _quartiles(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"q25": low, "median": median, "q75": high}
