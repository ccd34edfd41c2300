"""Accept results from elsewhere (dvc pull) as if made here, after verifying every digest."""

from __future__ import annotations

import argparse

from isoclock.cli.shared import add_grid

EXAMPLE = "adopt --grid demo"
add_arguments = add_grid


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.dag.adopt import adopt
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params

    adopt(load_params(), arguments.grid, Layout())
    return 0
