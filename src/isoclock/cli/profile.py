"""Measure the cost of one iteration of a method.

An accepted profile is kept where the new cost ratio is within 2 per cent of it.
"""

from __future__ import annotations

import argparse

from isoclock.cli.shared import add_names, add_study

EXAMPLE = "profile streets r10t-tiny kd"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_names(parser, "dataset", "pair", "method")
    add_study(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.params.check import load_params

    params, method = load_params(), arguments.method
    params.dataset(arguments.dataset)
    params.method_parts(method, arguments.dataset)
    recipe = params.student_recipe(arguments.dataset, arguments.pair)
    from isoclock.budget.profile import profile_method
    from isoclock.grid.layout import Layout
    from isoclock.runner.device import choose_device
    from isoclock.runner.failures import as_user_error, figures
    from isoclock.training.precision import check_precision

    title = f"profile {arguments.dataset}/{arguments.pair}/{method}"
    device = choose_device(title)
    check_precision(recipe, arguments.dataset, device, params.folder, study=arguments.study)
    with as_user_error(title, lambda: figures(method, recipe, device), then="measures again"):
        profile = profile_method(params, arguments.dataset, arguments.pair, method, Layout())
    cost = profile.cost
    marked = f"; marked {', '.join(profile.marks)}" if profile.marks else ""
    print(
        f"{method}: {cost.ratio:.3f} anchor-steps an iteration "
        f"[{cost.low:.3f}, {cost.high:.3f}], {profile.peak_mib:.0f} MiB{marked}"
    )
    if profile.gpu is not None:
        print(f"GPU: {profile.gpu.in_words()}")
    return 0
