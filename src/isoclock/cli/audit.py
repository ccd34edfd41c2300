"""The verb `audit`: compare the time spent with the time planned."""

from __future__ import annotations

import argparse

from isoclock.budget.audit import audit
from isoclock.grid.cells import cells
from isoclock.grid.layout import Layout
from isoclock.params.check import load_params
from isoclock.report.audit_table import print_audit


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    grid_cells = cells(load_params(), arguments.grid)
    print_audit(audit(grid_cells, Layout()), len(grid_cells))
    return 0
