"""The verb `evaluate`: score a trained student or teacher."""

from __future__ import annotations

import argparse

from isoclock.checks import load_params
from isoclock.grid import Cell, Layout
from isoclock.scoring.score import evaluate_cell, evaluate_teacher
from isoclock.training.device import choose_device


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    params, layout, trained = load_params(), Layout(), arguments.trained
    if trained.strip("/").count("/") == 1:
        dataset, model = trained.strip("/").split("/")
        scores = evaluate_teacher(params, dataset, model, layout, choose_device())
    else:
        scores = evaluate_cell(params, Cell.parse(trained), layout, choose_device())
    print(f"{trained}: mIoU {scores.miou:.4f}" if scores.miou is not None else f"{trained}: diverged")
    return 0
