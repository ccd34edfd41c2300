"""The verb `teacher`: train a teacher."""

from __future__ import annotations

import argparse

from isoclock.checks import load_params
from isoclock.grid import Layout
from isoclock.training.run import train_teacher
from isoclock.verbs import exit_status


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    return exit_status(train_teacher(load_params(), arguments.dataset, arguments.model, Layout()))
