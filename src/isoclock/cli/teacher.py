"""Train a teacher, or import the checkpoint of its model."""

from __future__ import annotations

import argparse

from isoclock.cli import exit_status
from isoclock.cli.shared import add_names, add_study

EXAMPLE = "teacher streets psp-r10t"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_names(parser, "dataset", "model")
    add_study(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params

    params, dataset = load_params(), arguments.dataset
    params.dataset(dataset)
    if params.model(arguments.model).checkpoint is not None:
        from isoclock.runner.imported import import_teacher

        return exit_status(import_teacher(params, dataset, arguments.model, Layout()))
    recipe = params.recipe(dataset, "teacher")
    from isoclock.runner.device import choose_device
    from isoclock.runner.run import train_teacher
    from isoclock.training.precision import check_precision

    device = choose_device(f"teacher {dataset}/{arguments.model}")
    check_precision(recipe, dataset, device, params.folder, study=arguments.study)
    return exit_status(train_teacher(params, dataset, arguments.model, Layout(), device))
