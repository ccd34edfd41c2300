"""Check a raw data set and pack it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from isoclock.cli.shared import add_names, integer
from isoclock.errors import ParamsError

EXAMPLE = "prepare streets --workers 2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_names(parser, "dataset")
    parser.add_argument(
        "--workers",
        type=integer(1),
        default=os.cpu_count() or 1,
        metavar="N",
        help="threads, such as 2 (default: one per core)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.params.check import load_params

    name = arguments.dataset
    params = load_params()
    dataset = params.dataset(name)
    from isoclock.data.packing.prepare import prepare
    from isoclock.data.packing.unlabelled import raw_splits
    from isoclock.data.packing.verify import MAX_PIXELS
    from isoclock.data.readers.reader import reader_of
    from isoclock.errors import one_line
    from isoclock.grid.code import code_digest
    from isoclock.grid.layout import Layout
    from isoclock.params.variants import whole_dataset
    from isoclock.progress import ProgressLine
    from isoclock.report.prepared_table import print_prepared

    notes: list[str] = []
    out = Layout().prepared(name)
    with ProgressLine(f"prepare {name}") as progress:
        index = prepare(
            reader_of(dataset),
            raw_root(whole_dataset(name), dataset.root),
            out,
            splits=raw_splits(dataset),
            size=dataset.size,
            storage=dataset.storage,
            images=dataset.images,
            labelled_images=dataset.labelled_images,
            labelled_seed=dataset.labelled_seed or 0,
            held_out=dataset.held_out,
            held_out_seed=dataset.held_out_seed or 0,
            accept_damaged=dataset.accept_damaged or (),
            white_16bit=dataset.white_16bit,
            max_pixels=dataset.max_pixels or MAX_PIXELS,
            dataset=name,
            code=code_digest("prepare", f"data.readers.{dataset.reader}"),
            workers=arguments.workers,
            progress=progress,
            report=notes.append,
        )
    for left in sorted(out.parent.glob(".*.packing")):
        if whole_dataset(left.name[1:].removesuffix(".packing")) not in params.datasets:
            notes.append(f"{left}: of an interrupted `isoclock prepare`, and params/ has no such data set; remove it")
    for note in notes:
        print(f"isoclock: {one_line(note)}", file=sys.stderr)
    print_prepared(index, out, params, notes)
    return 0


def raw_root(dataset: str, root: str) -> Path:
    """Where the raw files of a data set are: `root` of its entry, or what the environment has instead.

    A leading `~` is a home folder. Raises ParamsError if there is no such home folder.
    """
    variable = root_variable(dataset)
    given = os.environ.get(variable)
    try:
        return Path(given or root).expanduser()
    except RuntimeError:
        key = variable if given else f"params/datasets.yaml: {dataset}.root"
        raise ParamsError(f"{key}: {given or root}: there is no such home folder; write the whole path") from None


def root_variable(dataset: str) -> str:
    """Environment variable that overrides `root` of a data set, such as ISOCLOCK_ROOT_CAMVID."""
    return f"ISOCLOCK_ROOT_{dataset.upper().replace('-', '_').replace('.', '_')}"
