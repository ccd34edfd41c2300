"""Score a trained student or teacher."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isoclock.records.scores import ScoreDocument
    from isoclock.scoring.target import Target

EXAMPLE = "evaluate streets/r10t-tiny/kd/compute-140/0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "trained",
        help="a student's cell, such as streets/r10t-tiny/kd/compute-140/0, or a teacher, such as streets/psp-r10t",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.digests import Digests
    from isoclock.grid.cells import known_cell
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params

    params, layout = load_params(), Layout()
    dataset, _, model = arguments.trained.strip("/").partition("/")
    if "/" in model:
        known_cell(params, arguments.trained)  # before OpenCV and torch are imported, which takes seconds
    elif model:
        params.recipe(dataset, "teacher")
        params.model(model)
    from isoclock.scoring.last_validation import kept_validation, validation_inputs
    from isoclock.scoring.scores import write_scores
    from isoclock.scoring.target import Target

    target = Target.parse(params, arguments.trained, layout)
    target.check(Digests(layout.digests))
    kept = kept_validation(target, validation_inputs(params, target))
    scores = _scored(target) if kept is None else write_scores(kept, target)
    result = "diverged" if scores.miou is None else f"mIoU {scores.miou:.4f}"
    print(f"{target.name}: {result}{'' if kept is None else ' (taken from its last validation)'}")
    return 0


def _scored(target: Target) -> ScoreDocument:
    """Score the images. Only this needs torch: scores that training kept do not."""
    from isoclock.progress import ProgressLine
    from isoclock.runner.device import choose_device
    from isoclock.runner.failures import as_user_error, peak_memory
    from isoclock.scoring.score import evaluate_trained

    device = choose_device(f"evaluate {target.name}")
    with (
        ProgressLine(f"evaluate {target.name}"),
        as_user_error(
            f"evaluate {target.name}", lambda: f"whole images, {peak_memory(device)}", then="scores all images again"
        ),
    ):
        return evaluate_trained(target, device)
