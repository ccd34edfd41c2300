"""Checks of the networks in params/: parameters of their architectures, and outputs that losses read of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isoclock.errors import ParamsError
from isoclock.facts import defaults, param_problems
from isoclock.methods.card import cards
from isoclock.models.card import architectures
from isoclock.models.checkpoint_formats import format_problems
from isoclock.models.hub_weights import hub_name
from isoclock.models.outputs import AUX_LOGITS
from isoclock.params.load import Params


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
            for problem in param_problems(f"{name}.params", known[model.architecture].params, model.params)
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


def network_problems(params: Params) -> list[str]:
    """Outputs that the cells of grids read and a network lacks, or has at another stride than its teacher.

    Names in `params` have to be checked before.
    """
    return [
        f"{params.folder / 'grids' / name}.yaml: blocks[{number}]: {problem}"
        for name, grid in params.grids.items()
        for number, block in enumerate(grid.blocks)
        for dataset in block.datasets
        for pair in block.pairs
        for problem in (
            *_task_problems(params, dataset, pair),
            *(line for method in block.methods for line in _method_problems(params, dataset, pair, method)),
        )
    ]


def _task_problems(params: Params, dataset: str, pair_name: str) -> Iterator[str]:
    """An auxiliary loss for a network that has no auxiliary head."""
    pair = params.pair(pair_name)
    trained = (("student", dataset, pair.student), ("teacher", params.teacher_dataset(dataset), pair.teacher))
    for role, trained_on, model in trained:
        recipe = params.recipes.get((trained_on, role)) if params.model(model).checkpoint is None else None
        if recipe and recipe.aux_weight > 0 and AUX_LOGITS not in _strides(params, model):
            yield (
                f"{role} {model}: it has no auxiliary head, and {trained_on}.{role} in training.yaml has aux_weight "
                f"{recipe.aux_weight}; set it to 0"
            )


def _method_problems(params: Params, dataset: str, pair_name: str, method: str) -> Iterator[str]:
    """Outputs that a method reads and that the two networks do not have at one stride, as far as its file states them."""
    pair = params.pair(pair_name)
    student, teacher = _strides(params, pair.student), _strides(params, pair.teacher)
    for part in params.method_parts(method, dataset):
        for output in sorted(cards()[part.method].outputs_read(part.params, part.active_terms())):
            lacking = [model for model in (pair.student, pair.teacher) if output not in _strides(params, model)]
            if lacking:
                yield f"method {method}: it reads {output}, which {lacking[0]} does not have; choose another tap or model"
            elif student[output] != teacher[output]:
                yield (
                    f"method {method}: it compares {output}, of stride {student[output]} in {pair.student} and "
                    f"{teacher[output]} in {pair.teacher}; choose networks of one stride"
                )


def _strides(params: Params, model: str) -> dict[str, int]:
    return architectures()[params.model(model).architecture].strides
