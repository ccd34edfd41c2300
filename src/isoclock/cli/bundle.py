"""Put everything that a reviewer needs to verify a report into one archive, without weights and images.

`isoclock report --verify ARCHIVE` verifies it on any machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from isoclock.cli.shared import GRID

EXAMPLE = "bundle demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("grid", help=GRID)
    parser.add_argument("--out", type=Path, help="the archive, such as demo.tar.gz (default: GRID.tar.gz here)")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.grid.cells import cells
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params

    params = load_params()
    cells(params, arguments.grid)  # an unknown grid is answered at once
    from isoclock.verify.archive import write_bundle

    out = arguments.out or Path(f"{arguments.grid}.tar.gz")
    count = write_bundle(params, arguments.grid, Layout(), out)
    print(f"{out}: {count} files, {out.stat().st_size / 2**20:.1f} MiB; verify it with: isoclock report --verify {out}")
    return 0
