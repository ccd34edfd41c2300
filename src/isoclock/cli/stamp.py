"""Write what each rule depends on, where it changed."""

from __future__ import annotations

import argparse

from isoclock.cli.shared import add_grid

EXAMPLE = "stamp --grid demo"
add_arguments = add_grid


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.grid.layout import Layout
    from isoclock.grid.stamps import refresh
    from isoclock.params.check import load_params

    for path in refresh(load_params(), arguments.grid, Layout()):
        print(path)
    return 0
