"""Weights that are chosen at equal cost: the sweep of a grid, and params/tuned/GRID.yaml with what it chose.

The sweep of grid `demo` is the derived grid `demo.sweep`: each method of `demo` with each factor of its `tune`, on the data
sets of `demo` with a part of `train` held out. Its cells are like all others. `tuned` as the name of an implementation
(`mgd.tuned`) has nothing to do with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoclock.errors import ParamsError
from isoclock.hints import choices
from isoclock.params.schema import Grid, TunedWeights
from isoclock.params.variants import HeldOut, is_derived, with_factor, with_held_out
from isoclock.params.yaml_file import as_entry, as_mapping, read_yaml

if TYPE_CHECKING:
    from isoclock.params.load import Params

SWEEP = ".sweep"
FOLDER = "tuned"


def read_tuned(path: Path, problems: list[str]) -> dict[tuple[str, str, str], TunedWeights]:
    """The chosen weights of a grid by (data set, pair, method). Appends a line to `problems` for each mistake."""
    found = {}
    for dataset, pairs in as_mapping(path, "", read_yaml(path, problems), problems).items():
        for pair, methods in as_mapping(path, dataset, pairs, problems).items():
            for method, raw in as_mapping(path, f"{dataset}.{pair}", methods, problems).items():
                entry = as_entry(path, f"{dataset}.{pair}.{method}", raw, TunedWeights, problems)
                if entry is not None:
                    found[dataset, pair, method] = entry
    return found


def sweep_grid(folder: Path, name: str, grid: Grid) -> Grid:
    """The grid of the sweep of grid `name`. Raises ParamsError if it does not say how to tune."""
    if (tune := grid.tune) is None:
        raise ParamsError(
            f"{folder / 'grids' / name}.yaml: tune: missing, so it has no sweep; add `tune` with `budget` and `held_out`"
        )
    held_out = HeldOut(tune.held_out, tune.held_out_seed)
    blocks = [
        block.model_copy(
            update={
                "datasets": [with_held_out(dataset, held_out) for dataset in block.datasets],
                "methods": [with_factor(method, factor) for method in block.methods for factor in tune.factors],
                "budgets": [tune.budget],
                "seeds": tune.seeds,
            }
        )
        for block in grid.blocks
    ]
    about = f"The sweep that chooses the weights of grid {name}."
    return grid.model_copy(update={"about": about, "blocks": blocks, "weights": "published", "tune": None})


def before_choice(params: Params, grid: str) -> Params:
    """The same params, with published weights for a grid whose weights are to be tuned and are not chosen yet."""
    entry = params.grids.get(grid)
    if entry is None or entry.weights == "published" or grid in params.tuned:
        return params
    return replace(params, grids={**params.grids, grid: entry.model_copy(update={"weights": "published"})})


def trained_with(params: Params, dataset: str, pair: str, method: str) -> dict[str, Any]:
    """What the factor of a method is of: its weights on a data set, and `lr` for `none`."""
    own = params.method_parts(method, dataset)[0]
    lr = params.student_recipe(dataset, pair, method).lr if own.method == "none" else None
    return {"weights": own.weights, "lr": lr}


def chosen_method(params: Params, grid: str, dataset: str, pair: str, method: str) -> str:
    """Name of a method with the factor that `isoclock tune` chose for a grid.

    Raises ParamsError if nothing was chosen yet, or if `tune` of the grid, the weights or `lr` of the entries changed since.
    """
    path, where = params.folder / FOLDER / f"{grid}.yaml", f"{dataset}.{pair}.{method}"
    chosen = params.tuned.get(grid, {}).get((dataset, pair, method))
    if chosen is None:
        raise ParamsError(f"{path}: {where}: missing, and grid {grid} has `weights: tuned`; run `isoclock tune {grid}`")
    name = with_factor(method, chosen.factor)
    now = {"tune": params.grid(grid).tune, **trained_with(params, dataset, pair, name)}
    for key, value in now.items():
        if getattr(chosen, key) != value:
            raise ParamsError(
                f"{path}: {where}.{key}: {getattr(chosen, key)}: params/ has {value} by now; run `isoclock tune {grid}` again"
            )
    return name


def tuning_problems(params: Params) -> Iterator[str]:
    """Names that are reserved for derived ones, and grids that cannot be tuned. One line each."""
    reserved = [("methods.yaml", name) for name in params.methods] + [
        ("datasets.yaml", name) for name in params.datasets
    ]
    for file, name in reserved:
        if is_derived(name):
            yield f"{params.folder / file}: {name}: names of this form are derived from others; choose another"
    for name, grid in params.grids.items():
        file = f"{params.folder / 'grids' / name}.yaml"
        if name.endswith(SWEEP):
            yield f"{file}: a grid's name must not end in {SWEEP}: that is the sweep of another grid; rename the file"
        if grid.tune is None:
            continue
        budget = params.budgets.get(grid.tune.budget)
        if budget is None:
            yield f"{file}: tune.budget: unknown budget {grid.tune.budget!r}; {choices(grid.tune.budget, params.budgets)}"
        elif budget.protocol != "compute":
            yield f"{file}: tune.budget: {grid.tune.budget}: methods are tuned at equal compute; choose a compute budget"
        for number, block in enumerate(grid.blocks):
            for key, names in (("methods", block.methods), ("datasets", block.datasets)):
                for entry in filter(is_derived, names):
                    yield f"{file}: blocks[{number}].{key}: {entry}: a derived name in a grid with tune; name the entry"
