"""Train a student for its planned iterations."""

from __future__ import annotations

import argparse

from isoclock.cli import exit_status
from isoclock.cli.shared import add_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("cell", help="dataset/pair/method/budget/seed")
    add_study(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.grid.cells import Cell
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params
    from isoclock.runner.device import choose_device
    from isoclock.runner.run import train_student
    from isoclock.training.precision import check_precision

    params, cell = load_params(), Cell.parse(arguments.cell)
    recipe = params.recipe(cell.dataset, "student")
    device = choose_device(f"student {cell.path}")
    check_precision(recipe, cell.dataset, device, params.folder, study=arguments.study)
    return exit_status(train_student(params, cell, Layout(), device))
