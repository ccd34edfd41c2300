"""The verb `sync`: bring MLflow up to date from the run records."""

from __future__ import annotations

import argparse
import sys

from isoclock.errors import EXIT_USER_ERROR
from isoclock.grid.cells import cells, datasets_needed
from isoclock.grid.layout import RESULTS, RUNS
from isoclock.params.check import load_params
from isoclock.tracking import sync, watch


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    params = load_params()
    found = cells(params, arguments.grid)
    run = watch if arguments.watch else sync
    summary = run(
        RESULTS,
        RUNS,
        None,
        grid_name=arguments.grid,
        cells=[cell.as_dict() for cell in found],
        teachers_of=datasets_needed(params, found),
        progress=print,
    )
    for problem in summary.problems:
        print(f"isoclock: {problem}", file=sys.stderr)
    print(summary.line)
    return EXIT_USER_ERROR if summary.problems else 0
