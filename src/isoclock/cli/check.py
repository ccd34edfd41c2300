"""Check params/ without running anything."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--grid", help="also count its cells")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.data.readers.reader import check_readers
    from isoclock.grid.cells import cells
    from isoclock.params.check import load_params

    params = load_params()
    check_readers({dataset.reader for dataset in params.datasets.values()})
    if arguments.grid:
        print(f"params/ is valid; grid {arguments.grid} has {len(cells(params, arguments.grid))} cells")
    else:
        print(f"params/ is valid; grids: {', '.join(params.grids)}")
    return 0
