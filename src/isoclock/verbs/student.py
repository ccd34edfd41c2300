"""The verb `student`: train a student for its planned iterations."""

from __future__ import annotations

import argparse

from isoclock.checks import load_params
from isoclock.grid import Cell, Layout
from isoclock.training.device import choose_device
from isoclock.training.precision import check_precision
from isoclock.training.run import train_student
from isoclock.verbs import exit_status


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    params, cell = load_params(), Cell.parse(arguments.cell)
    recipe = params.recipe(cell.dataset, "student")
    check_precision(recipe, cell.dataset, choose_device(), params.folder, study=arguments.study)
    return exit_status(train_student(params, cell, Layout()))
