"""Make the embedded data set."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = "streets data/streets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("data/streets"), help="a new folder (default: data/streets)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.data.streets.make import make_streets
    from isoclock.progress import ProgressLine

    with ProgressLine(f"streets in {arguments.folder}") as progress:
        make_streets(arguments.folder, progress=progress.update)
    return 0
