"""Checks of the networks in params/: parameters of their architectures, and outputs that losses read of them."""

from __future__ import annotations

from collections.abc import Iterator

from isoclock.facts import param_problems
from isoclock.methods.card import cards
from isoclock.models.card import architectures
from isoclock.models.outputs import AUX_LOGITS
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
        for problem in param_problems(f"{name}.params", known[model.architecture].params, model.params)
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
        recipe = params.recipe_if_any(trained_on, role)
        if recipe and recipe.aux_weight > 0 and AUX_LOGITS not in _strides(params, model):
            yield (
                f"{role} {model}: it has no auxiliary head, and {params.section(trained_on)}.{role} in training.yaml has "
                f"aux_weight {recipe.aux_weight}; set it to 0"
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
