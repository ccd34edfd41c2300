"""Predict image files with a trained or an exported network: label maps and overlays."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isoclock.scoring.predictor import Predictor

EXAMPLE = "predict streets/psp-r10t data/streets/leftImg8bit/val"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "trained",
        help="a student's cell, such as streets/r10t-tiny/kd/compute-140/0, a teacher, such as streets/psp-r10t, or a folder "
        "of `isoclock export`",
    )
    parser.add_argument("images", nargs="+", type=Path, help="PNG or JPEG files, or folders of them, such as photo.jpg")
    parser.add_argument(
        "--out", type=Path, default=Path("predictions"), metavar="FOLDER", help="where to (default: predictions)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    predictor = _predictor(arguments.trained)
    from isoclock.scoring.predictor import find_images, write_predictions

    images = find_images(arguments.images)
    for labels in write_predictions(predictor, images, arguments.out):
        print(labels)
    return 0


def _predictor(model: str) -> Predictor:
    from isoclock.digests import Digests
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params
    from isoclock.scoring.target import Target

    if Path(model, "model.json").is_file():
        from isoclock.runner.device import choose_device
        from isoclock.scoring.predictor import Predictor

        return Predictor.of_export(Path(model), choose_device(f"predict {model}"))
    params, layout = load_params(), Layout()
    target = Target.parse(params, model, layout)
    target.check(Digests(layout.digests))
    from isoclock.runner.device import choose_device
    from isoclock.scoring.predictor import Predictor

    return Predictor.of_target(target, choose_device(f"predict {model}"))
