"""Check a raw data set and pack it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from isoclock.cli.shared import integer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("dataset")
    parser.add_argument(
        "--workers", type=integer(1), default=os.cpu_count() or 1, help="threads (default: one per core)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.data.packing.prepare import prepare
    from isoclock.data.packing.unlabelled import raw_splits
    from isoclock.data.readers.reader import find_reader
    from isoclock.errors import one_line
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params
    from isoclock.progress import ProgressLine

    notes: list[str] = []
    name = arguments.dataset
    dataset = load_params().dataset(name)
    root = Path(os.environ.get(root_variable(name)) or dataset.root)
    with ProgressLine(f"prepare {name}") as progress:
        prepare(
            find_reader(dataset.reader),
            root,
            Layout().prepared(name),
            splits=raw_splits(dataset),
            size=dataset.size,
            storage=dataset.storage,
            images=dataset.images,
            labelled_images=dataset.labelled_images,
            labelled_seed=dataset.labelled_seed or 0,
            accept_damaged=dataset.accept_damaged or (),
            white_16bit=dataset.white_16bit,
            dataset=name,
            workers=arguments.workers,
            progress=progress,
            report=notes.append,
        )
    for note in notes:
        print(f"isoclock: {one_line(note)}", file=sys.stderr)
    return 0


def root_variable(dataset: str) -> str:
    """Environment variable that overrides `root` of a data set, such as ISOCLOCK_ROOT_CAMVID."""
    return f"ISOCLOCK_ROOT_{dataset.upper().replace('-', '_').replace('.', '_')}"
