"""The verb `profile`: what one training iteration of a method costs, in anchor-steps.

Windows of the method's steps alternate with windows of the anchor's in one process, so that clock, thermal and node-speed
differences cancel in the ratio. PROTOCOL.md states the rules.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from isoclock.budget.memory import peak_mib
from isoclock.budget.plan import accept_profile
from isoclock.budget.windows import measure_until_quiet
from isoclock.data.loading.prepared import PreparedData
from isoclock.files import sha256_json
from isoclock.grid.layout import Layout
from isoclock.grid.stamps import cost_inputs, profile_stamp
from isoclock.models.trained import new_segmenter
from isoclock.params.load import Params
from isoclock.records.document import build
from isoclock.records.profile import Profile
from isoclock.training.anchor import StepBench
from isoclock.training.assemble import assemble_step
from isoclock.training.device import choose_device, device_kind, environment, use_threads

SEED = 7


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
    use_threads(recipe.threads)

    def bench(with_method: bool) -> StepBench:
        student = params.model(pair.student)
        if not with_method:
            step = assemble_step(recipe, student, data, device, seed=SEED)
        else:
            # Random weights do: what a step costs does not depend on how well the teacher was trained.
            teacher = None
            if params.has_teacher(method_name, dataset):
                teacher = new_segmenter(params.model(pair.teacher), len(data.classes), initial=False)
            step = assemble_step(recipe, student, data, device, seed=SEED, method=method, teacher=teacher)
        return StepBench(step, data.training_batches(recipe, SEED))

    memory = _memory_and_flops(bench(True), device)
    title = f"profile {dataset}/{pair_name}/{method_name}"
    measured, attempts = measure_until_quiet(bench, settings, title, settings.attempts if study else 1)
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


def _memory_and_flops(bench: StepBench, device: torch.device) -> dict[str, Any]:
    """Peak memory of a training step without the anchor, and floating-point operations by part."""
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
