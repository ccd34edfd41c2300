"""The cells of a grid, and what they need: data sets, teachers, profiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from isoclock.errors import UserError
from isoclock.params.load import Params


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
        """`streets/demo/kd/compute-300/0` -> Cell. Raises UserError if it is not of that form."""
        parts = path.strip("/").split("/")
        if len(parts) != 5 or not (parts[4].isascii() and parts[4].isdigit()):
            raise UserError(
                f"cell {path!r}: must be dataset/pair/method/budget/seed, such as streets/demo/kd/compute-300/0"
            )
        dataset, pair, method, budget, seed = parts
        return cls(dataset, pair, method, budget, int(seed))

    @property
    def path(self) -> str:
        """The cell as a relative path, which is also its key in MLflow."""
        return f"{self.dataset}/{self.pair}/{self.method}/{self.budget}/{self.seed}"

    def as_dict(self) -> dict[str, Any]:
        """The cell as it stands in run records."""
        return asdict(self)


def cells(params: Params, grid_name: str) -> list[Cell]:
    """All cells of a grid, in order, each once. Raises ParamsError for an unknown grid."""
    found: dict[Cell, None] = {}
    for block in params.grid(grid_name).blocks:
        for point in product(block.datasets, block.pairs, block.methods, block.budgets, block.seeds):
            found[Cell(*point)] = None
    return list(found)


def same_training(params: Params, cell: Cell) -> list[Cell]:
    """Cells of other budgets under which `cell` is trained alike, by definition: empty for most.

    A compute budget of N iterations of a yardstick gives that yardstick N iterations, as the iteration budget of N does.
    (Only as long as its cost is the one that the budget was accepted with: compare the planned iterations.)
    """
    budget = params.budget(cell.budget)
    if budget.iterations is None or (budget.protocol == "compute" and budget.yardstick != cell.method):
        return []
    others = [
        name
        for name, other in params.budgets.items()
        if other.iterations == budget.iterations
        and other.protocol != budget.protocol
        and cell.method in (budget.yardstick, other.yardstick)
    ]
    return [replace(cell, budget=name) for name in others]


def trained_before(params: Params, cell: Cell, found: Iterable[Cell]) -> list[Cell]:
    """The cells of `found` that are trained first and that `cell` is the same training as: none under an iteration budget."""
    if params.budget(cell.budget).protocol == "iteration":
        return []
    return sorted(set(same_training(params, cell)).intersection(found))


def teachers_needed(params: Params, found: Iterable[Cell]) -> list[tuple[str, str]]:
    """(data set, model) of every teacher of some cells; the data set is that of the teacher, which several may share."""
    needed = ((params.teacher_dataset(cell.dataset), params.pair(cell.pair).teacher) for cell in found)
    return list(dict.fromkeys(needed))


def datasets_needed(params: Params, found: Sequence[Cell]) -> list[str]:
    """Every data set that is to be prepared for some cells: theirs, and those of their teachers."""
    return list(dict.fromkeys([*(cell.dataset for cell in found), *(d for d, _ in teachers_needed(params, found))]))


def profiles_needed(params: Params, grid_name: str) -> list[tuple[str, str, str]]:
    """(dataset, pair, method) of every profile that a grid reads: those of its cells and of their yardsticks."""
    needed: dict[tuple[str, str, str], None] = {}
    for cell in cells(params, grid_name):
        needed[cell.dataset, cell.pair, cell.method] = None
        yardstick = params.budget(cell.budget).yardstick
        if yardstick is not None:
            needed[cell.dataset, cell.pair, yardstick] = None
    return list(needed)
