"""The verb `check`: check params/ without running anything."""

from __future__ import annotations

import argparse

from isoclock.grid.cells import cells
from isoclock.params.check import load_params


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    params = load_params()
    if arguments.grid:
        print(f"params/ is in order; grid {arguments.grid} has {len(cells(params, arguments.grid))} cells")
    else:
        print(f"params/ is in order; grids: {', '.join(params.grids)}")
    return 0
