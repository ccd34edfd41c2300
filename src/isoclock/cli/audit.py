"""Compare the time spent with the time planned."""

from __future__ import annotations

import argparse

from isoclock.cli.shared import add_grid

EXAMPLE = "audit --grid demo"
add_arguments = add_grid


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.budget.audit import audit
    from isoclock.budget.audit_methods import audit_methods
    from isoclock.grid.cells import cells
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params
    from isoclock.records.results import Results
    from isoclock.report.audit_table import print_audit
    from isoclock.report.collect import profiles_of

    grid_cells, layout = cells(load_params(), arguments.grid), Layout()
    rows = audit(grid_cells, layout)
    print_audit(rows, len(grid_cells), audit_methods(rows, profiles_of(Results(layout), grid_cells)))
    return 0
