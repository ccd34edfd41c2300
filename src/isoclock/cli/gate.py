"""Compare the scores of teachers with what a grid demands of them.

A grid demands a score by data set and pair (`teacher_miou_at_least`). The workflow runs this before it measures or trains
anything of a pair.
"""

from __future__ import annotations

import argparse

from isoclock.cli.shared import GRID

EXAMPLE = "gate cityscapes cityscapes/r101-r18"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("grid", help=GRID)
    parser.add_argument(
        "pair", nargs="?", help="dataset/pair, such as cityscapes/r101-r18; without it, all of the grid"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.dag.gate import pass_gate
    from isoclock.errors import UserError
    from isoclock.grid.jobs import GridJobs
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params

    jobs = GridJobs.of_grid(load_params(), arguments.grid, Layout())
    given = [tuple(arguments.pair.split("/"))] if arguments.pair else list(jobs.gates)
    problems: list[str] = []
    for where in given:
        if len(where) != 2:
            raise UserError(f"gate: {arguments.pair!r}: must be dataset/pair, such as cityscapes/r101-r18")
        try:
            print(pass_gate(jobs, *where))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    if not given:
        print(f"grid {arguments.grid} demands no score of a teacher")
    return 0
