"""Export a trained student or teacher: safetensors, ONNX, and a model card."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = "export streets/r10t-tiny/kd/compute-140/0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "trained",
        help="a student's cell, such as streets/r10t-tiny/kd/compute-140/0, or a teacher, such as streets/psp-r10t",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to (default: results/export/CELL), such as best-student"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.digests import Digests
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params
    from isoclock.scoring.target import Target

    params, layout = load_params(), Layout()
    target = Target.parse(params, arguments.trained, layout)
    out = layout.exported(target.name) if arguments.out is None else arguments.out
    from isoclock.scoring.export import export

    compared = export(target, out, Digests(layout.digests)).compared
    print(
        f"{out}: {target.name}; model.onnx gives the logits of torch on {compared.images} images (largest difference "
        f"{compared.largest_difference:.1e} of the largest logit)"
    )
    return 0
