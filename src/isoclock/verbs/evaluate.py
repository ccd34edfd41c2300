"""The verb `evaluate`: score a trained student."""

from __future__ import annotations

import argparse

from isoclock.checks import load_params
from isoclock.grid import Cell, Layout
from isoclock.scoring.score import evaluate_cell
from isoclock.training.device import choose_device
from isoclock.training.mishaps import peak_memory, told_in_one_line


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    params, cell, device = load_params(), Cell.parse(arguments.cell), choose_device()
    with told_in_one_line(
        f"evaluate {cell.path}", lambda: f"whole images, {peak_memory(device)}", then="scores all images again"
    ):
        scores = evaluate_cell(params, cell, Layout(), device)
    print(f"{arguments.cell}: mIoU {scores.miou:.4f}" if scores.miou is not None else f"{arguments.cell}: diverged")
    return 0
