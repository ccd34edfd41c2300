"""Serve the MLflow UI and keep it up to date."""

from __future__ import annotations

import argparse

from isoclock.cli.shared import add_grid, integer

EXAMPLE = "ui --grid demo --port 5001"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_grid(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on, such as 0.0.0.0 (default: 127.0.0.1, this machine only)",
    )
    parser.add_argument(
        "--port", type=integer(1, 65535), default=5000, metavar="N", help="such as 5001 (default: 5000)"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address and open no browser")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.grid.cells import cells, datasets_needed
    from isoclock.grid.layout import RESULTS, RUNS
    from isoclock.params.check import load_params

    params = load_params()
    found = cells(params, arguments.grid)
    from isoclock.tracking import browser, serve_ui

    return serve_ui(
        None,
        RESULTS,
        RUNS,
        grid_name=arguments.grid,
        cells=found,
        teachers_of=datasets_needed(params, found),
        host=arguments.host,
        port=arguments.port,
        show=None if arguments.no_browser else browser(),
    )
