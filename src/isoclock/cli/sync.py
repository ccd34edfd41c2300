"""Update MLflow from the run records."""

from __future__ import annotations

import argparse
import sys

from isoclock.cli.shared import add_grid
from isoclock.errors import EXIT_USER_ERROR

EXAMPLE = "sync --grid demo --watch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_grid(parser)
    parser.add_argument("--watch", action="store_true", help="keep updating until stopped")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.grid.cells import cells, datasets_needed
    from isoclock.grid.layout import RESULTS, RUNS
    from isoclock.params.check import load_params

    params = load_params()
    found = cells(params, arguments.grid)
    from isoclock.tracking import sync, watch

    update = watch if arguments.watch else sync
    summary = update(
        RESULTS,
        RUNS,
        None,
        grid_name=arguments.grid,
        cells=found,
        teachers_of=datasets_needed(params, found),
        progress=print,
    )
    for problem in summary.problems:
        print(f"isoclock: {problem}", file=sys.stderr)
    print(summary.line)
    return EXIT_USER_ERROR if summary.problems else 0
