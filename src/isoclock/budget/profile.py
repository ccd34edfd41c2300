"""The verb `profile`: what one training iteration of a method costs, in anchor-steps.

`isoclock.budget.measure` does the measuring; here it is written down.
"""

from __future__ import annotations

import time
from typing import Any

from isoclock.budget.measure import (
    count_flops,
    measure,
    measure_sensitivity,
    peak_memory,
    profile_bench,
)
from isoclock.budget.plan import accept_profile, why_again
from isoclock.data.loading.prepared import PreparedData
from isoclock.digests import Digests
from isoclock.files import check_writable, sha256_json
from isoclock.grid.layout import Layout
from isoclock.grid.stamps import cost_inputs, profile_stamp
from isoclock.params.load import Params
from isoclock.params.schema import Recipe
from isoclock.params.variants import without_factor
from isoclock.progress import ProgressLine
from isoclock.protocol import VERSION
from isoclock.records.document import build
from isoclock.records.profile import Profile
from isoclock.runner.device import choose_device
from isoclock.runner.environment import environment
from isoclock.training.anchor import StepBench
from isoclock.training.device import device_kind


def profile_method(params: Params, dataset: str, pair_name: str, method_name: str, layout: Layout) -> Profile:
    """Measure a method, write its profile and return it. A factor in its name does not count.

    Where the interval of the ratio stays too wide, or steps wait for data, the profile is marked; a study refuses it.
    """
    data, method_name = PreparedData.open(layout.prepared(dataset)), without_factor(method_name)
    accepted_path = layout.accepted_record("profile", dataset, pair_name, method_name)
    output = layout.profile(dataset, pair_name, method_name)
    for path in (accepted_path, output):
        check_writable(path.parent)
    recipe, settings = params.student_recipe(dataset, pair_name), params.profile_settings(pair_name)
    data.verify([split for split in data.splits_of(recipe) if split != "val"], Digests(layout.digests))
    pair, method = params.pair(pair_name), params.method_parts(method_name, dataset)
    device = choose_device()
    stamp = profile_stamp(params, dataset, pair_name, method_name)
    about = cost_inputs(params, dataset, pair_name, method_name)
    title = f"profile {dataset}/{pair_name}/{method_name}"
    same = {
        "digests": {"code": stamp["code"], "data": data.digest, "inputs": sha256_json(about)},
        "device_kind": device_kind(device),
        "threads": recipe.threads,
        "protocol_version": VERSION,
    }
    if (why := why_again(accepted_path, same, settings.reaccept_within)) is not None:
        print(f"isoclock: {title}: {why}", flush=True)
    teacher = params.model(pair.teacher) if params.has_teacher(method_name, dataset) else None

    def bench(with_method: bool, recipe: Recipe = recipe) -> StepBench:
        parts: dict[str, Any] = {"method": method, "teacher": teacher} if with_method else {}
        return profile_bench(recipe, params.model(pair.student), data, device, **parts)

    steps = bench(True)
    peak = peak_memory(steps, device)
    eager = recipe.model_copy(update={"compile": "none", "teacher_inference": "eager"})
    gflops = count_flops(steps if eager == recipe else bench(True, eager))
    with ProgressLine(f"{title}, seconds") as line:
        measured = measure(steps, bench(False), settings, line.update)
    sensitivity = None
    if recipe.precision != "fp32" and any(part.active_terms() for part in method):
        with ProgressLine(f"{title}, losses in the other precision") as line:
            sensitivity = measure_sensitivity(bench, recipe, line.update)
    content = {
        "dataset": dataset,
        "pair": pair_name,
        "method": method_name,
        "implementation": method[0].implementation,
        "device_kind": device_kind(device),
        "threads": recipe.threads,
        "precision": recipe.precision,
        "loss_precision": recipe.loss_precision,
        "matmul_precision": recipe.matmul_precision,
        "cudnn_benchmark": recipe.cudnn_benchmark,
        "teacher_inference": recipe.teacher_inference,
        "compile": recipe.compile,
        "batch": recipe.batch,
        "unlabelled_per_batch": recipe.unlabelled_per_batch,
        "images": data.images,
        "crop": list(recipe.crop),
        **measured,
        "sensitivity": sensitivity,
        "peak_mib": peak,
        "gflops": gflops,
        "measured_unix": round(time.time()),
        "environment": environment(device),
        "digests": same["digests"],
    }
    return accept_profile(build(Profile, content), accepted_path, output, settings.reaccept_within)
