"""From names in params/ to networks and methods: the one place where a training step is put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from isoclock.methods import build_method
from isoclock.methods.bundle import Bundle
from isoclock.models.trained import new_segmenter
from isoclock.training.anchor import StepBench
from isoclock.training.arithmetic import use_arithmetic
from isoclock.training.batches import check_loading, sample_count, training_batches
from isoclock.training.device import use_threads
from isoclock.training.step import TrainingStep, class_weights

if TYPE_CHECKING:
    from isoclock.data.loading.prepared import PreparedData
    from isoclock.methods.contract import Method
    from isoclock.models.segmenter import Segmenter
    from isoclock.params.schema import MethodEntry, Model, Recipe

ANCHOR_SEED = 104729  # no run draws its batches in this order


def assemble_step(
    recipe: Recipe,
    student_model: Model,
    data: PreparedData,
    device: torch.device,
    *,
    seed: int,
    method: Sequence[MethodEntry] = (),
    teacher: Segmenter | None = None,
) -> TrainingStep:
    """A training step with a fresh student, on the recipe's CPU threads and with its arithmetic.

    Every method of a seed starts from the same student.

    `method` is a variant and its extras (`Params.method_parts`); none trains the student alone. The random state is left
    at a function of the seed alone, so that dropout is the same for every method too.
    """
    use_threads(recipe.threads)
    use_arithmetic(recipe, device)
    num_classes = len(data.classes)
    torch.manual_seed(seed)
    student = new_segmenter(student_model, num_classes)
    torch.manual_seed(seed + 1)

    def build(name: str, **variant: Any) -> Method:
        return build_method(
            name,
            student=student.channels,
            teacher=student.channels if teacher is None else teacher.channels,
            num_classes=num_classes,
            dataset_size=sample_count(data, recipe),
            **variant,
        )

    parts = [
        build(part.method, implementation=part.implementation, active_terms=set(part.active_terms()), **part.params)
        for part in method
    ] or [build("none")]
    built = parts[0] if len(parts) == 1 else Bundle(parts)
    built.seed(seed)
    torch.manual_seed(seed + 2)
    return TrainingStep(
        student,
        built,
        {term: part.weights[term] for part in method for term in part.active_terms()},
        recipe,
        device,
        teacher=teacher,
        class_weights=class_weights(data.class_pixels, recipe.class_weights),
        num_classes=num_classes,
    )


def open_bench(
    recipe: Recipe,
    student_model: Model,
    data: PreparedData,
    device: torch.device,
    *,
    seed: int = ANCHOR_SEED,
    method: Sequence[MethodEntry] = (),
    teacher: Segmenter | None = None,
) -> StepBench:
    """A step with batches of its own, to be measured and not kept: of the anchor, where no `method` is given.

    Raises UserError where this machine cannot run the recipe's loader processes.
    """
    check_loading(recipe)
    step = assemble_step(recipe, student_model, data, device, seed=seed, method=method, teacher=teacher)
    return StepBench(step, training_batches(data, recipe, seed, device))
