"""Train a student for its planned iterations."""

from __future__ import annotations

import argparse

from isoclock.cli import exit_status
from isoclock.cli.shared import add_names, add_study

EXAMPLE = "student streets/r10t-tiny/kd/compute-140/0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_names(parser, "cell")
    add_study(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.grid.cells import known_cell
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params

    params = load_params()
    cell = known_cell(params, arguments.cell)  # before torch is imported, which takes seconds
    from isoclock.runner.device import choose_device
    from isoclock.runner.run import train_student
    from isoclock.training.precision import check_precision

    recipe = params.recipe(cell.dataset, "student")
    device = choose_device(f"student {cell.path}")
    check_precision(recipe, cell.dataset, device, params.folder, study=arguments.study)
    return exit_status(train_student(params, cell, Layout(), device))
