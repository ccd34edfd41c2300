"""Windows of a method's steps in turn with windows of the anchor's: cost, times and shares, and the marks of a measurement."""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from isoclock.params.schema import ProfileSettings
from isoclock.progress import ProgressLine
from isoclock.training.anchor import StepBench
from isoclock.training.device import synchroniser

PHASES = ("data", "transfer", "teacher", "student", "loss", "backward", "optimiser", "adversary")
BOOTSTRAP = 2000
BOOTSTRAP_SEED = 7


def measure_until_quiet(
    open_bench: Callable[[bool], StepBench], settings: ProfileSettings, title: str, most: int
) -> tuple[dict[str, Any], int]:
    """Measure until a measurement has no mark, at most `most` times. Returns the last measurement, and the number of attempts."""
    method, anchor = open_bench(True), open_bench(False)
    attempts, measured = 1, measure(method, anchor, settings, title)
    while measured["marks"] and attempts < most:
        attempts += 1
        attempt = f"attempt {attempts} of {most}"
        print(f"{title}: {_why_again(measured, settings)}: measured again, {attempt}", file=sys.stderr, flush=True)
        measured = measure(method, anchor, settings, f"{title}, {attempt}")
    return {**measured, "pretrain": _measure_pretraining(method, anchor, settings, title)}, attempts


def _why_again(measured: dict[str, Any], settings: ProfileSettings) -> str:
    """Each mark of a measurement, with the figure behind it and its limit (params/budgets.yaml)."""
    reasons = []
    if "noisy" in measured["marks"]:
        reasons.append(f"noisy (windows spread over {measured['spread']:.1%}, max_spread {settings.max_spread:.1%})")
    if "input-bound" in measured["marks"]:
        figures = []
        if (waiting := measured["shares"]["data"]) > settings.max_data_share:
            figures.append(f"{waiting:.0%} of a step waits for data, max_data_share {settings.max_data_share:.0%}")
        if (loaders := measured["loader_share"]) is not None and loaders > 1:
            figures.append(f"loader processes have work for {loaders:.0%} of a step, at most 100%")
        reasons.append(f"input-bound ({'; '.join(figures)})")
    return ", ".join(reasons)


def _measure_pretraining(
    method: StepBench, anchor: StepBench, settings: ProfileSettings, title: str
) -> dict[str, Any] | None:
    """What a method's pre-training costs before its first iteration: steps, and anchor-steps each. None without one."""
    if not (iterations := method.step.method.pretrain_iterations):
        return None
    method.run(settings.warmup_steps, pretraining=True)
    ratios = []
    with ProgressLine(f"{title}, pre-training") as progress:
        for number in range(settings.windows):
            seconds = method.run(settings.steps_per_window, pretraining=True)
            ratios.append(seconds / anchor.run(settings.steps_per_window))
            progress.update(number + 1, settings.windows, f"ratio {ratios[-1]:.3f}")
    return {"iterations": iterations, "ratio": float(np.median(ratios)), **bootstrap_interval(np.array(ratios))}


def measure(method: StepBench, anchor: StepBench, settings: ProfileSettings, title: str) -> dict[str, Any]:
    """One attempt: windows in turn, a sustained window, and the shares of a step."""
    method.run(settings.warmup_steps)
    anchor.run(settings.warmup_steps)
    windows = []
    with ProgressLine(title) as progress:
        for number in range(settings.windows):
            # The order alternates, so that a drift within a window does not always favour the same side.
            sides = [("anchor_s", anchor), ("step_s", method)][:: 1 if number % 2 == 0 else -1]
            seconds = {name: side.run(settings.steps_per_window) for name, side in sides}
            windows.append({**seconds, "ratio": seconds["step_s"] / seconds["anchor_s"]})
            progress.update(number + 1, settings.windows, f"ratio {windows[-1]['ratio']:.3f}")
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
    # Loader processes fill their buffers while the anchor runs, and then nobody waits in a window: ask what they can sustain.
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
    }


def bootstrap_interval(ratios: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    """95 % percentile-bootstrap interval of the median ratio, from a fixed seed."""
    random = np.random.default_rng(BOOTSTRAP_SEED)
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


def _quartiles(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"q25": low, "median": median, "q75": high}
