"""The tables with which `isoclock prepare` ends: what was packed, what was left out, and the next step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from isoclock.params.load import Params
from isoclock.params.tuning import SWEEP
from isoclock.progress import table_console
from isoclock.records.document import read
from isoclock.records.index import Index, Samples, Split

MAX_CLASSES = 40
"""More classes than these are not all shown, but the most and the least frequent ones."""


def print_prepared(index: Index, folder: Path, params: Params, notes: Sequence[str] = ()) -> None:
    """Print the tables of the data set in `folder`. `notes` are what `prepare` has reported."""
    console = table_console()
    console.print(_splits(index, folder))
    console.print(_classes(index))
    if (hidden := len(index.classes) - MAX_CLASSES) > 0:
        console.print(f"{hidden} classes between these are in {escape(str(folder))}/index.json.")
    for line in (*_left_out(index, notes), *_next(index.dataset, params)):
        console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _splits(index: Index, folder: Path) -> Table:
    table = Table(title=f"{index.dataset}: packed into {escape(str(folder))}", box=SIMPLE_HEAD)
    table.add_column("split")
    for title in ("images", "with label", "height x width", "void pixels"):
        table.add_column(title, justify="right")
    for name, split in index.splits.items():
        samples = read(folder / split.files["samples"].file, Samples, f"prepare {index.dataset}")
        table.add_row(name, f"{split.images:,}", f"{sum(samples.labelled):,}", _sizes(samples), _void(split))
    return table


def _sizes(samples: Samples) -> str:
    if not samples.sizes:
        return "-"
    heights, widths = zip(*samples.sizes, strict=True)
    sides = [(min(side), max(side)) for side in (heights, widths)]
    return " x ".join(f"{least}" if least == most else f"{least}..{most}" for least, most in sides)


def _void(split: Split) -> str:
    pixels = split.void_pixels + sum(split.class_pixels)
    return _per_cent(split.void_pixels / pixels) if pixels and "labels" in split.files else "-"


def _classes(index: Index) -> Table:
    shown = [name for name in ("train", "val") if name in index.splits]
    table = Table(title="share of the labelled pixels, and images with the class", box=SIMPLE_HEAD)
    table.add_column("class")
    for name in shown:
        table.add_column(name, justify="right")
        table.add_column("images", justify="right")
    frequency = index.splits["train"].class_frequency if "train" in shown else []
    order = list(range(len(index.classes)))
    if len(order) > MAX_CLASSES:
        order.sort(key=lambda train: -frequency[train] if frequency else train)
        order = order[: MAX_CLASSES // 2] + order[-MAX_CLASSES // 2 :]
    for place, train in enumerate(order):
        splits = [index.splits[name] for name in shown]
        figures = [(_per_cent(split.class_frequency[train]), f"{split.class_images[train]:,}") for split in splits]
        table.add_row(escape(index.classes[train]), *(cell for pair in figures for cell in pair))
        if len(index.classes) > MAX_CLASSES and place == MAX_CLASSES // 2 - 1:
            table.add_section()
    return table


def _per_cent(share: float) -> str:
    return "0" if share == 0 else "< 0.01 %" if share < 1e-4 else f"{100 * share:.2f} %"


def _left_out(index: Index, notes: Sequence[str]) -> list[str]:
    lines = [f"left out: {name}: {reason}" for name, reason in sorted(index.verification.left_out.items())]
    if damaged := index.verification.accepted_damaged:
        lines.append(f"packed although damaged: {', '.join(damaged)}")
    lines += [f"left out: {note}" for note in notes if "files that are not used" in note]
    return lines or ["left out: nothing"]


def _next(dataset: str, params: Params) -> list[str]:
    """The step after `isoclock prepare`."""
    names = [*params.grids, *(name + SWEEP for name, grid in params.grids.items() if grid.tune is not None)]
    grids = [name for name in names if any(dataset in block.datasets for block in params.grid(name).blocks)]
    if params.recipe_if_any(dataset, "student") is None:
        step = f"add a recipe `{params.section(dataset)}` to params/training.yaml (docs/own-dataset.md has one to copy)"
    elif not grids:
        step = f"list {dataset} under `datasets` of a grid in params/grids (docs/own-dataset.md has one to copy)"
    else:
        step = (
            f"isoclock check --grid {grids[0]}, then "
            f"snakemake --profile workflow/profiles/local --config grid={grids[0]} -- all"
        )
    return [f"next: {step}"]
