"""The verb `report`: tables, figures and one HTML page of a grid."""

from __future__ import annotations

import argparse

from isoclock.grid.cells import cells
from isoclock.grid.layout import Layout
from isoclock.params.check import load_params
from isoclock.report import build_report, print_table


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    params, layout = load_params(), Layout()
    grid_cells = cells(params, arguments.grid)
    if arguments.table_only:
        print_table(layout.results, grid_cells)
        return 0
    page = build_report(
        layout.results,
        grid_cells,
        arguments.grid,
        layout.report(arguments.grid),
        published=list(params.published.values()),
    )
    print(page)
    return 0
