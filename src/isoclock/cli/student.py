"""The verb `student`: train a student for its planned iterations."""

from __future__ import annotations

import argparse

from isoclock.cli import exit_status
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.params.check import load_params
from isoclock.runner.run import train_student
from isoclock.training.device import choose_device
from isoclock.training.precision import check_precision


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    params, cell = load_params(), Cell.parse(arguments.cell)
    recipe = params.recipe(cell.dataset, "student")
    device = choose_device()
    check_precision(recipe, cell.dataset, device, params.folder, study=arguments.study)
    return exit_status(train_student(params, cell, Layout(), device))
