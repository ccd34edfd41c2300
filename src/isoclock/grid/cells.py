"""The cells of a grid, and the data sets, teachers and profiles that they need."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from isoclock.errors import UserError
from isoclock.params.load import Params
from isoclock.params.tuning import chosen_method
from isoclock.params.variants import without_factor
from isoclock.schema import MAX_SEED, NAME_RULE, is_name


@dataclass(frozen=True, order=True)
class Cell:
    """One point of the grid: one student, trained once."""

    dataset: str
    pair: str
    method: str
    budget: str
    seed: int

    @classmethod
    def parse(cls, path: str) -> Cell:
        """`streets/demo/kd/compute-300/0` -> Cell. Raises UserError for any other form."""
        parts = path.strip("/").split("/")
        if len(parts) != 5 or not is_seed(parts[4]):
            raise UserError(
                f"cell {path!r}: must be dataset/pair/method/budget/seed, such as streets/demo/kd/compute-300/0"
            )
        for name in parts[:4]:
            if not is_name(name):
                raise UserError(f"cell {path!r}: {name!r} is not a name ({NAME_RULE}); choose one from params/")
        dataset, pair, method, budget, seed = parts
        return cls(dataset, pair, method, budget, int(seed))

    @property
    def path(self) -> str:
        """The one string form of a cell: its relative path, its name on the command line and its key in MLflow."""
        return f"{self.dataset}/{self.pair}/{self.method}/{self.budget}/{self.seed}"

    def as_dict(self) -> dict[str, Any]:
        """The cell as run records have it."""
        return asdict(self)


def known_cell(params: Params, path: str) -> Cell:
    """`Cell.parse`, with names that params/ has. Raises UserError for another form, ParamsError for an unknown name."""
    cell = Cell.parse(path)
    params.dataset(cell.dataset)
    params.budget(cell.budget)
    params.method_parts(cell.method, cell.dataset)
    params.student_recipe(cell.dataset, cell.pair, cell.method)
    return cell


def is_seed(text: str) -> bool:
    """Whether a text is a seed as paths have it: digits, without leading zeros, of at most 63 bits."""
    return re.fullmatch("0|[1-9][0-9]{0,18}", text) is not None and int(text) <= MAX_SEED


def cells(params: Params, grid_name: str) -> list[Cell]:
    """All cells of a grid, in order, each once.

    Raises ParamsError for an unknown grid, and for one with `weights: tuned` whose weights are not chosen.
    """
    found: dict[Cell, None] = {}
    grid = params.grid(grid_name)
    for block in grid.blocks:
        for dataset, pair, method, budget, seed in product(
            block.datasets, block.pairs, block.methods, block.budgets, block.seeds
        ):
            name = chosen_method(params, grid_name, dataset, pair, method) if grid.weights == "tuned" else method
            found[Cell(dataset, pair, name, budget, seed)] = None
    return list(found)


def same_training(params: Params, cell: Cell) -> list[Cell]:
    """Cells of other budgets whose training is that of `cell` by definition. Empty for most cells.

    A compute budget of N iterations of a yardstick gives that yardstick N iterations, like the iteration budget of N.
    This holds while the yardstick's cost is the one that the budget was accepted with: compare the planned iterations.
    """
    budget, method = params.budget(cell.budget), without_factor(cell.method)
    if budget.iterations is None or (budget.protocol == "compute" and budget.yardstick != method):
        return []
    others = [
        name
        for name, other in params.budgets.items()
        if other.iterations == budget.iterations
        and other.protocol != budget.protocol
        and method in (budget.yardstick, other.yardstick)
    ]
    return [replace(cell, budget=name) for name in others]


def trained_before(params: Params, cell: Cell, found: Collection[Cell]) -> list[Cell]:
    """The cells of `found` that are the same training as `cell` and are trained first. Empty under an iteration budget."""
    if params.budget(cell.budget).protocol == "iteration":
        return []
    return sorted(other for other in same_training(params, cell) if other in found)


def teachers_needed(params: Params, found: Iterable[Cell]) -> list[tuple[str, str]]:
    """(data set, model) of every teacher of some cells. The data set is the teacher's, which several may share."""
    needed = ((params.teacher_dataset(cell.dataset), params.pair(cell.pair).teacher) for cell in found)
    return list(dict.fromkeys(needed))


def datasets_needed(params: Params, found: Sequence[Cell]) -> list[str]:
    """Every data set that some cells read: their own, and those of their teachers."""
    return list(dict.fromkeys([*(cell.dataset for cell in found), *(d for d, _ in teachers_needed(params, found))]))


def profiles_needed(params: Params, grid_name: str) -> list[tuple[str, str, str]]:
    """(data set, pair, method) of every profile that a grid reads: those of its cells and of their yardsticks.

    Methods are without factors: a cost does not depend on the size of a weight.
    """
    needed: dict[tuple[str, str, str], None] = {}
    for cell in cells(params, grid_name):
        needed[cell.dataset, cell.pair, without_factor(cell.method)] = None
        yardstick = params.budget(cell.budget).yardstick
        if yardstick is not None:
            needed[cell.dataset, cell.pair, yardstick] = None
    return list(needed)
