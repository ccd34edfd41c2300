"""The verb `streets`: make the embedded data set."""

from __future__ import annotations

import argparse

from isoclock.data.streets.make import make_streets
from isoclock.progress import ProgressLine


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    with ProgressLine(f"streets in {arguments.folder}") as progress:
        make_streets(arguments.folder, progress=progress.update)
    return 0
