"""The verb `teacher`: train a teacher."""

from __future__ import annotations

import argparse

from isoclock.checks import load_params
from isoclock.grid import Layout
from isoclock.training.device import choose_device
from isoclock.training.precision import check_precision
from isoclock.training.run import train_teacher
from isoclock.verbs import exit_status


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    params, dataset = load_params(), arguments.dataset
    recipe = params.recipe(dataset, "teacher")
    check_precision(recipe, dataset, choose_device(), params.folder, study=arguments.study)
    return exit_status(train_teacher(params, dataset, arguments.model, Layout()))
