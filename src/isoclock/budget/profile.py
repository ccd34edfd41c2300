"""The verb `profile`: what one training iteration of a method costs, in anchor-steps.

`isoclock.budget.measure` does the measuring; here it is repeated where it was noisy, and written down.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from isoclock.budget.measure import measure, measure_pretraining, memory_and_flops, profile_bench
from isoclock.budget.plan import accept_profile
from isoclock.data.loading.prepared import PreparedData
from isoclock.files import sha256_json
from isoclock.grid.layout import Layout
from isoclock.grid.stamps import cost_inputs, profile_stamp
from isoclock.params.load import Params
from isoclock.params.schema import ProfileSettings
from isoclock.progress import ProgressLine
from isoclock.records.document import build
from isoclock.records.profile import Profile
from isoclock.runner.device import choose_device
from isoclock.runner.environment import environment
from isoclock.training.anchor import StepBench
from isoclock.training.device import device_kind


def profile_method(
    params: Params, dataset: str, pair_name: str, method_name: str, layout: Layout, *, study: bool = False
) -> Profile:
    """Measure a method, write its profile and return it.

    If the windows disagree, the profile is marked. A study refuses marked profiles, so for a `study` a noisy measurement is
    repeated, up to `attempts` times in all.
    """
    data = PreparedData.open(layout.prepared(dataset))
    recipe, settings = params.recipe(dataset, "student"), params.profile
    pair, method = params.pair(pair_name), params.method_parts(method_name, dataset)
    device = choose_device()
    teacher = params.model(pair.teacher) if params.has_teacher(method_name, dataset) else None

    def bench(with_method: bool) -> StepBench:
        parts: dict[str, Any] = {"method": method, "teacher": teacher} if with_method else {}
        return profile_bench(recipe, params.model(pair.student), data, device, **parts)

    memory = memory_and_flops(bench(True), device)
    title = f"profile {dataset}/{pair_name}/{method_name}"
    measured, attempts = _measure_until_quiet(bench, settings, title, settings.attempts if study else 1)
    stamp = profile_stamp(params, dataset, pair_name, method_name)
    about = cost_inputs(params, dataset, pair_name, method_name)
    content = {
        "dataset": dataset,
        "pair": pair_name,
        "method": method_name,
        "implementation": method[0].implementation,
        "device_kind": device_kind(device),
        "threads": recipe.threads,
        "precision": recipe.precision,
        "batch": recipe.batch,
        "unlabelled_per_batch": recipe.unlabelled_per_batch,
        "images": data.images,
        "crop": list(recipe.crop),
        **measured,
        **memory,
        "energy_j": None,
        "attempts": attempts,
        "measured_unix": round(time.time()),
        "environment": environment(),
        "digests": {"code": stamp["code"], "data": data.digest, "inputs": sha256_json(about)},
    }
    accepted_path = layout.accepted_record("profile", dataset, pair_name, method_name)
    output = layout.profile(dataset, pair_name, method_name)
    return accept_profile(build(Profile, content), accepted_path, output, settings.reaccept_within)


def _measure_until_quiet(
    open_bench: Callable[[bool], StepBench], settings: ProfileSettings, title: str, most: int
) -> tuple[dict[str, Any], int]:
    """Measure until a measurement has no mark, at most `most` times. Returns the last measurement, and the number of attempts."""
    method, anchor = open_bench(True), open_bench(False)
    attempts, measured = 1, _shown(measure, method, anchor, settings, title)
    while measured["marks"] and attempts < most:
        attempts += 1
        attempt = f"attempt {attempts} of {most}"
        print(f"{title}: {_why_again(measured, settings)}: measured again, {attempt}", file=sys.stderr, flush=True)
        measured = _shown(measure, method, anchor, settings, f"{title}, {attempt}")
    pretrain = _shown(measure_pretraining, method, anchor, settings, f"{title}, pre-training")
    return {**measured, "pretrain": pretrain}, attempts


def _shown(
    work: Callable[..., Any], method: StepBench, anchor: StepBench, settings: ProfileSettings, title: str
) -> Any:
    with ProgressLine(title) as line:
        return work(method, anchor, settings, line.update)


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
