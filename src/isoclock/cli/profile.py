"""The verb `profile`: measure what an iteration of a method costs."""

from __future__ import annotations

import argparse

from isoclock.budget.profile import profile_method
from isoclock.grid.layout import Layout
from isoclock.params.check import load_params
from isoclock.runner.failures import figures, told_in_one_line
from isoclock.training.device import choose_device
from isoclock.training.precision import check_precision


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    params, method = load_params(), arguments.method
    recipe = params.recipe(arguments.dataset, "student")
    check_precision(recipe, arguments.dataset, choose_device(), params.folder, study=arguments.study)
    title = f"profile {arguments.dataset}/{arguments.pair}/{method}"
    with told_in_one_line(title, lambda: figures(method, recipe, choose_device()), then="measures again"):
        profile = profile_method(params, arguments.dataset, arguments.pair, method, Layout(), study=arguments.study)
    cost = profile.cost
    marked = f"; marked {', '.join(profile.marks)}" if profile.marks else ""
    print(
        f"{method}: {cost.ratio:.3f} anchor-steps an iteration "
        f"[{cost.low:.3f}, {cost.high:.3f}], {profile.peak_mib:.0f} MiB{marked}"
    )
    return 0
