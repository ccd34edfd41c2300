"""Write tables, figures and one HTML page for a grid."""

from __future__ import annotations

import argparse

from isoclock.cli.shared import add_grid

EXAMPLE = "report --grid demo --table-only"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_grid(parser)
    parser.add_argument("--table-only", action="store_true", help="print the comparison table and write nothing")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.grid.cells import cells
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params
    from isoclock.report import build_report, print_table
    from isoclock.report.run_urls import run_urls
    from isoclock.report.weights import weights_of

    params, layout = load_params(), Layout()
    grid_cells = cells(params, arguments.grid)
    if arguments.table_only:
        print_table(layout.results, grid_cells, params.protocols)
        return 0
    page = build_report(
        layout.results,
        grid_cells,
        arguments.grid,
        layout.report(arguments.grid),
        published=list(params.published.values()),
        protocols=params.protocols,
        weights=weights_of(params, arguments.grid),
        about=params.grid(arguments.grid).about,
        run_urls=run_urls(),
    )
    print(page)
    return 0
