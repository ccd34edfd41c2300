"""Score a trained student or teacher."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isoclock.scoring.scores import Scores
    from isoclock.scoring.target import Target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("trained", help="a student's cell, or a teacher as dataset/model")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params
    from isoclock.scoring.last_validation import kept_validation, validation_inputs
    from isoclock.scoring.scores import write_scores
    from isoclock.scoring.target import Target

    params = load_params()
    target = Target.parse(params, arguments.trained, Layout())
    scores, source = kept_validation(target, validation_inputs(params, target)), " (taken from its last validation)"
    if scores is None:
        scores, source = _scored(target), ""
    else:
        write_scores(scores, target)
    result = f"mIoU {scores.miou:.4f}" if scores.miou is not None else "diverged"
    print(f"{target.name}: {result}{source}")
    return 0


def _scored(target: Target) -> Scores:
    """Score the images. Only this needs torch: scores that training kept do not."""
    from isoclock.runner.device import choose_device
    from isoclock.runner.failures import as_user_error, peak_memory
    from isoclock.scoring.score import evaluate_trained

    device = choose_device(f"evaluate {target.name}")
    with as_user_error(
        f"evaluate {target.name}", lambda: f"whole images, {peak_memory(device)}", then="scores all images again"
    ):
        return evaluate_trained(target, device)
