"""The verb `student`: train a student for its planned iterations."""

from __future__ import annotations

import argparse

from isoclock.checks import load_params
from isoclock.grid import Cell, Layout
from isoclock.training.run import train_student
from isoclock.verbs import exit_status


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    return exit_status(train_student(load_params(), Cell.parse(arguments.cell), Layout()))
