"""Check params/ without running anything."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from isoclock.cli.shared import GRID

if TYPE_CHECKING:
    from isoclock.params.load import Params

EXAMPLE = "check --grid demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--grid",
        help=f"{GRID}: only this one; also look for its weights files, compare its crops with the images, count cells",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.data.readers.reader import reader_problems
    from isoclock.errors import ParamsError
    from isoclock.grid.cells import cells
    from isoclock.params.check import load_params
    from isoclock.params.weights_files import weights_files_problems

    params = load_params()
    problems = reader_problems({dataset.reader for dataset in params.datasets.values()})
    if problems := problems + _colour_problems(params):
        raise ParamsError(problems)
    grid = arguments.grid
    count = len(cells(params, grid)) if grid else 0
    # Imported here: torch takes seconds, and a mistake in params/ is answered at once.
    from isoclock.training.buildable import build_problems

    problems = build_problems(params, [grid] if grid else params.grids)
    if problems := problems + (weights_files_problems(params, grid) + _crop_problems(params, grid) if grid else []):
        raise ParamsError(problems)
    if grid:
        print(f"params/ is valid; grid {grid} has {count} cells")
    else:
        print(f"params/ is valid; grids: {', '.join(params.grids)}")
    return 0


def _crop_problems(params: Params, grid: str) -> list[str]:
    """Crops that are larger than every image of a prepared data set, after the largest random scale. One line each."""
    from isoclock.data.packing.packed import PackedSplit
    from isoclock.errors import UserError
    from isoclock.grid.layout import Layout
    from isoclock.training.batches import crop_rules

    problems = []
    for dataset in dict.fromkeys(name for block in params.grid(grid).blocks for name in block.datasets):
        try:
            sizes = PackedSplit(Layout().prepared(dataset), "train").sizes
        except UserError:
            continue  # not prepared yet, or to be made again: training says so
        for role, of in (("student", dataset), ("teacher", params.teacher_dataset(dataset))):
            recipe = params.recipe(of, role)
            rules = crop_rules(recipe)
            factors = [rules.resized_by(size) * recipe.scale[1] for size in sizes]
            scaled = [[side * factor for side in size] for size, factor in zip(sizes, factors, strict=True)]
            largest = tuple(int(max(sides)) for sides in zip(*scaled, strict=True))
            if recipe.crop[0] > largest[0] or recipe.crop[1] > largest[1]:
                problems.append(
                    f"{params.folder / 'training.yaml'}: {of}.{role}.crop: {list(recipe.crop)} is larger than every image of "
                    f"{dataset}, even scaled ({list(largest)}); choose a smaller crop"
                )
    return problems


def _colour_problems(params: Params) -> list[str]:
    """Colour transforms that cannot be built, or that do not keep the type and shape of an image. One line each.

    Other verbs leave this to the loader of a training run: albumentations takes seconds to import.
    """
    from isoclock.data.loading.colour import build_colour
    from isoclock.errors import ParamsError

    problems: list[str] = []
    seen: list[object] = []
    for (dataset, role), recipe in params.recipes.items():
        if recipe.colour in seen:  # most roles share a list
            continue
        seen.append(recipe.colour)
        try:
            build_colour(recipe.colour)
        except ParamsError as error:
            problems += [f"{params.folder / 'training.yaml'}: {dataset}.{role}.{text}" for text in error.problems]
    return problems
