"""Show how far a grid is: stages, running and failed jobs, time used and left."""

from __future__ import annotations

import argparse
import sys
import time

from isoclock.cli.shared import GRID, integer

CLEAR = "\x1b[H\x1b[J"  # the cursor to the top left, and nothing below it

EXAMPLE = "status demo --watch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("grid", nargs="?", default="demo", help=f"{GRID} (the default)")
    parser.add_argument("--watch", action="store_true", help="show it again and again until Ctrl-C")
    parser.add_argument(
        "--every",
        type=integer(1),
        default=5,
        metavar="S",
        help="with --watch: seconds between two, such as 60 (default: 5)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.dag.status import grid_status
    from isoclock.dag.status_text import status_text
    from isoclock.grid.jobs import GridJobs
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params

    jobs = GridJobs.of_grid(load_params(), arguments.grid, Layout())
    try:
        while True:
            text = status_text(grid_status(jobs))
            clear = CLEAR if arguments.watch and sys.stdout.isatty() else ""
            print(clear + text, end="" if clear or not arguments.watch else "\n", flush=True)
            if not arguments.watch:
                return 0
            time.sleep(arguments.every)
    except KeyboardInterrupt:
        return 0
