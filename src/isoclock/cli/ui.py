"""The verb `ui`: serve the MLflow UI and keep it up to date."""

from __future__ import annotations

import argparse

from isoclock.grid.cells import cells, datasets_needed
from isoclock.grid.layout import RESULTS, RUNS
from isoclock.params.check import load_params
from isoclock.tracking import serve_ui


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    params = load_params()
    found = cells(params, arguments.grid)
    return serve_ui(
        None,
        RESULTS,
        RUNS,
        grid_name=arguments.grid,
        cells=[cell.as_dict() for cell in found],
        teachers_of=datasets_needed(params, found),
        host=arguments.host,
        port=arguments.port,
    )
