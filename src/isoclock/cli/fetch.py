"""Get the weights files of a grid, where there is internet access.

Nodes without it then find them: on a shared file system, or copied along with the cache of the Hugging Face hub (HF_HOME).
"""

from __future__ import annotations

import argparse

from isoclock.cli.shared import GRID

EXAMPLE = "fetch camvid-study"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("grid", help=GRID)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.errors import UserError
    from isoclock.params.check import load_params
    from isoclock.params.weights_files import weights_files

    files = weights_files(load_params(), arguments.grid)
    problems: list[str] = []
    for file in files:
        try:
            print(f"{file.name}: {file.fetch()}", flush=True)
        except UserError as error:
            problems += error.problems
        else:
            problems += filter(None, [file.problem(arguments.grid)])
    if problems:
        raise UserError(problems)
    print(f"grid {arguments.grid}: {len(files)} weights files are here")
    return 0
