"""Checks of the networks in params/: parameters of their architectures, and outputs that losses read of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isoclock.errors import ParamsError
from isoclock.facts import param_problems
from isoclock.methods.card import cards
from isoclock.models.card import Architecture, architectures
from isoclock.params.load import Params


def model_problems(params: Params) -> list[str]:
    """Parameters in models.yaml that an architecture does not have, or that break its rules, and weights below `~`."""
    file, known = params.folder / "models.yaml", architectures()
    return [
        f"{file}: models.{name}.weights: {model.weights!r}: `~` is not expanded here; write the whole path"
        for name, model in params.models.items()
        if model.weights.startswith("~")
    ] + [
        f"{file}: models.{problem}"
        for name, model in params.models.items()
        if model.architecture in known
        for problem in _param_problems(name, known[model.architecture], model.params)
    ]


def _param_problems(name: str, known: Architecture, values: Mapping[str, Any]) -> list[str]:
    """Values that break the rules, or that do not go together."""
    if found := param_problems(f"{name}.params", known.params, values):
        return found
    try:
        known.strides(values)
    except ParamsError as error:
        return [f"{name}.params{problem.removeprefix(known.name)}" for problem in error.problems]
    return []


def network_problems(params: Params) -> list[str]:
    """Outputs that the cells of grids read and a network lacks. Names in `params` have to be checked before."""
    return [
        f"{params.folder / 'grids' / name}.yaml: blocks[{number}]: {problem}"
        for name, grid in params.grids.items()
        for number, block in enumerate(grid.blocks)
        for dataset in block.datasets
        for pair in block.pairs
        for method in block.methods
        for problem in _method_problems(params, dataset, pair, method)
    ]


def _method_problems(params: Params, dataset: str, pair_name: str, method: str) -> Iterator[str]:
    """Outputs that a method reads and that one of the two networks does not have, as far as its file states them."""
    pair = params.pair(pair_name)
    for part in params.method_parts(method, dataset):
        for output in sorted(cards()[part.method].outputs_read(part.params, part.active_terms())):
            if lacking := [model for model in (pair.student, pair.teacher) if output not in _outputs(params, model)]:
                yield f"method {method}: it reads {output}, which {lacking[0]} does not have; choose another tap or model"


def _outputs(params: Params, model: str) -> frozenset[str]:
    return architectures()[params.model(model).architecture].outputs
