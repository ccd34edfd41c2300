"""The verb `evaluate`: score a trained student."""

from __future__ import annotations

import argparse

from isoclock.checks import load_params
from isoclock.grid import Cell, Layout
from isoclock.scoring.score import evaluate_cell
from isoclock.training.device import choose_device


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    scores = evaluate_cell(load_params(), Cell.parse(arguments.cell), Layout(), choose_device())
    print(f"{arguments.cell}: mIoU {scores.miou:.4f}" if scores.miou is not None else f"{arguments.cell}: diverged")
    return 0
