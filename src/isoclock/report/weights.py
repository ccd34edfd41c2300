"""Where the weights of a grid's methods come from, and what choosing them took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isoclock.grid.cells import cells
from isoclock.params.load import Params
from isoclock.params.variants import split_factor, whole_dataset


@dataclass(frozen=True)
class Weights:
    """`origin` is the first word of the provenance, with the factor if there is one. None: not tuned."""

    origin: str = ""
    train_s: float | None = None
    anchor_steps: float | None = None


def weights_of(params: Params, grid: str) -> dict[tuple[str, str, str], Weights]:
    """The weights of each method of a grid by (data set, pair, method). Of `none`, which has none, only tuned rates."""
    found: dict[tuple[str, str, str], Weights] = {}
    tuned = params.tuned.get(grid, {}) if params.grid(grid).weights == "tuned" else {}
    for cell in cells(params, grid):
        method, factor = split_factor(cell.method)
        chosen = tuned.get((cell.dataset, cell.pair, method))
        if chosen is not None:
            about = Weights(f"tuned x{factor:g}", chosen.train_s, chosen.anchor_steps)
        else:
            origin = _origin(params, method, cell.dataset)
            about = Weights(origin if factor == 1 else f"{origin} x{factor:g}".strip())
        found[cell.dataset, cell.pair, cell.method] = about
    return found


def _origin(params: Params, method: str, dataset: str) -> str:
    """The first words of the provenance of a method's weights on a data set, such as `published`; empty if it has none."""
    entry, whole = params.method(method), whole_dataset(dataset)
    if not entry.weights:
        return ""
    groups = ("weights_for", "weights") if whole in entry.weights_for else ("weights",)
    said = _said(entry.provenance, f"weights_for.{whole}", *groups)
    return ", ".join(sorted({text.partition(":")[0] for text in said}))


def _said(provenance: Mapping[str, str], *groups: str) -> list[str]:
    """What a provenance says of the first of `groups` that it has, or else of everything."""
    for group in groups:
        if said := [text for key, text in provenance.items() if key == group or key.startswith(f"{group}.")]:
            return said
    return [provenance["*"]] if "*" in provenance else []
