"""The verb `check`: check params/ without running anything."""

from __future__ import annotations

import argparse

from isoclock.checks import load_params
from isoclock.grid import cells


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    params = load_params()
    if arguments.grid:
        print(f"params/ is in order; grid {arguments.grid} has {len(cells(params, arguments.grid))} cells")
    else:
        print(f"params/ is in order; grids: {', '.join(params.grids)}")
    return 0
