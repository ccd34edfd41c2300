"""Write tables, figures and one HTML page for a grid."""

from __future__ import annotations

import argparse
from contextlib import ExitStack, chdir
from pathlib import Path

from isoclock.cli.shared import add_grid

EXAMPLE = "report --grid demo --table-only"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_grid(parser)
    parser.add_argument("--table-only", action="store_true", help="print the comparison table and write nothing")
    parser.add_argument(
        "--verify",
        nargs="?",
        const="",
        metavar="ARCHIVE",
        help="recompute every figure of the report from confusion matrices and ledgers, or of an archive of `isoclock bundle`, "
        "such as demo.tar.gz",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    if arguments.verify is not None:
        return _verify(arguments)
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


def _verify(arguments: argparse.Namespace) -> int:
    """Verify the report here, or that of an archive."""
    from isoclock.errors import ArtifactError
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params
    from isoclock.verify.archive import unpacked
    from isoclock.verify.grid import verify_grid

    with ExitStack() as opened:
        grid = arguments.grid
        if arguments.verify:
            grid, folder = opened.enter_context(unpacked(Path(arguments.verify)))
            opened.enter_context(chdir(folder))
        found = verify_grid(load_params(), grid, Layout())
    if found.problems:
        raise ArtifactError(found.problems)
    print(
        f"grid {grid}: {found.records} records, {found.scores} scores and {found.files} files of the report are as computed"
    )
    return 0
