"""Check params/ without running anything."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isoclock.params.load import Params


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--grid", help="also count its cells, and look for its weights files")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.data.readers.reader import reader_problems
    from isoclock.errors import ArtifactError, ParamsError
    from isoclock.grid.cells import cells
    from isoclock.params.check import load_params
    from isoclock.params.weights_files import weights_files

    params = load_params()
    problems = reader_problems({dataset.reader for dataset in params.datasets.values()})
    if problems := problems + _colour_problems(params):
        raise ParamsError(problems)
    if arguments.grid:
        files = weights_files(params, arguments.grid)
        if absent := [problem for file in files if (problem := file.problem(arguments.grid)) is not None]:
            raise ArtifactError(absent)
        print(f"params/ is valid; grid {arguments.grid} has {len(cells(params, arguments.grid))} cells")
    else:
        print(f"params/ is valid; grids: {', '.join(params.grids)}")
    return 0


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
