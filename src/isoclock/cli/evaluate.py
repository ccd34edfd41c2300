"""The verb `evaluate`: score a trained student or teacher."""

from __future__ import annotations

import argparse

from isoclock.grid.layout import Layout
from isoclock.params.check import load_params
from isoclock.scoring.last_validation import kept_validation, validation_inputs
from isoclock.scoring.scores import Scores, write_scores
from isoclock.scoring.target import Target


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    params = load_params()
    target = Target.parse(params, arguments.trained, Layout())
    scores, how = kept_validation(target, validation_inputs(params, target)), ", as its last validation found"
    if scores is None:
        scores, how = _scored(target), ""
    else:
        write_scores(scores, target)
    found = f"mIoU {scores.miou:.4f}" if scores.miou is not None else "diverged"
    print(f"{target.name}: {found}{how}")
    return 0


def _scored(target: Target) -> Scores:
    from isoclock.runner.failures import as_user_error, peak_memory
    from isoclock.scoring.score import evaluate_trained  # here: scores that training kept need no torch
    from isoclock.training.device import choose_device

    device = choose_device()
    told = as_user_error(
        f"evaluate {target.name}", lambda: f"whole images, {peak_memory(device)}", then="scores all images again"
    )
    with told:
        return evaluate_trained(target, device)
