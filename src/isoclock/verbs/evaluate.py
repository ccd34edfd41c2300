"""The verb `evaluate`: score a trained student or teacher."""

from __future__ import annotations

import argparse

from isoclock.checks import load_params
from isoclock.grid import Cell, Layout
from isoclock.scoring.score import evaluate_cell, evaluate_teacher
from isoclock.training.device import choose_device
from isoclock.training.mishaps import peak_memory, told_in_one_line


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    params, layout, trained, device = load_params(), Layout(), arguments.trained.strip("/"), choose_device()
    told = told_in_one_line(
        f"evaluate {trained}", lambda: f"whole images, {peak_memory(device)}", then="scores all images again"
    )
    with told:
        if trained.count("/") == 1:
            dataset, model = trained.split("/")
            scores = evaluate_teacher(params, dataset, model, layout, device)
        else:
            scores = evaluate_cell(params, Cell.parse(trained), layout, device)
    print(f"{trained}: mIoU {scores.miou:.4f}" if scores.miou is not None else f"{trained}: diverged")
    return 0
