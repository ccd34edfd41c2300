"""Read a checkpoint of another toolbox, and print the entry that makes it a teacher."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = "import psp-r101 weights/pspnet_r101.pth --format mmsegmentation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("model", help="an entry of params/models.yaml whose network the file has, such as psp-r101")
    parser.add_argument(
        "file",
        type=Path,
        help="a .pth or .safetensors file of a network or of a ResNet encoder, such as weights/pspnet_r101.pth, or a folder of "
        "a network that save_pretrained wrote",
    )
    parser.add_argument("--format", help="a toolbox, such as mmsegmentation (default: the first that all tensors fit)")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.params.check import load_params

    model = load_params().model(arguments.model)
    from isoclock.runner.imported import own_classes
    from isoclock.runner.importing import described

    print(described(arguments.model, model, arguments.file, arguments.format, own_classes(arguments.file)))
    return 0
