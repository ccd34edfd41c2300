"""Compare the time spent with the time planned."""

from __future__ import annotations

import argparse

from isoclock.cli.shared import add_grid

EXAMPLE = "audit --grid demo"
add_arguments = add_grid


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.budget.audit import audit
    from isoclock.grid.cells import cells
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params
    from isoclock.report.audit_table import print_audit

    grid_cells = cells(load_params(), arguments.grid)
    print_audit(audit(grid_cells, Layout()), len(grid_cells))
    return 0
