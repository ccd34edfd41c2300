"""Checks of the networks in params/: parameters of their architectures, and outputs that losses read of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isoclock.errors import ParamsError
from isoclock.facts import defaults, param_problems
from isoclock.methods.card import cards
from isoclock.models.card import Architecture, architectures
from isoclock.models.checkpoint_formats import format_problems
from isoclock.models.hub_weights import IMAGENET, hub_name
from isoclock.params.load import Params
from isoclock.params.schema import Model


def model_problems(params: Params) -> list[str]:
    """Parameters in models.yaml that an architecture does not have, or that break its rules, and weights below `~`."""
    file, known = params.folder / "models.yaml", architectures()
    paths = [(f"{name}.weights", model.weights) for name, model in params.models.items() if model.weights]
    paths += [(f"{name}.checkpoint.path", m.checkpoint.path) for name, m in params.models.items() if m.checkpoint]
    tags = [
        problem for name, model in params.models.items() for problem in _tag_problems(name, model.weights, model.params)
    ]
    return (
        [
            f"{file}: models.{key}: {path!r}: `~` is not expanded here; write the whole path"
            for key, path in paths
            if path.startswith("~")
        ]
        + [
            f"{file}: models.{problem}"
            for name, model in params.models.items()
            if model.architecture in known
            for problem in _param_problems(name, known[model.architecture], model.params)
            or _weights_problems(name, known[model.architecture], model)
        ]
        + [f"{file}: models.{problem}" for problem in tags]
    )


def _tag_problems(name: str, weights: str | None, values: Mapping[str, Any]) -> list[str]:
    """A tag of timm that is not of the encoder; whether timm has it is not known here."""
    if weights is None or not isinstance(encoder := values.get("encoder"), str):
        return []
    try:
        hub_name(encoder, weights)
    except ParamsError as error:
        return [f"{name}.{problem}" for problem in error.problems]
    return []


def _weights_problems(name: str, known: Architecture, model: Model) -> list[str]:
    if model.weights != IMAGENET or known.imagenet is None or known.repository(model.params) is not None:
        return []
    return [f"{name}.weights: imagenet: {known.name} has none with these params; set `weights: random`"]


def checkpoint_problems(params: Params) -> list[str]:
    """Models with a checkpoint that is of another kind of network, and students that have one."""
    file, known = params.folder / "models.yaml", architectures()
    return [
        f"{file}: models.{name}.{problem}"
        for name, model in params.models.items()
        if model.checkpoint and model.architecture in known
        for problem in format_problems(
            model.checkpoint.format, model.architecture, defaults(known[model.architecture].params) | model.params
        )
    ] + [
        f"{file}: pairs.{name}.student: {pair.student!r}: has a checkpoint, so it is not trained; choose another model"
        for name, pair in params.pairs.items()
        if pair.student in params.models and params.models[pair.student].checkpoint
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
