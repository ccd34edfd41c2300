"""From names in params/ to networks, methods and batches: the one place where a training step is put together."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from isoclock.data.loading.prepared import PreparedData
from isoclock.errors import ArtifactError
from isoclock.files import sha256_file
from isoclock.grid.layout import Layout
from isoclock.methods import build_method
from isoclock.methods.bundle import Bundle
from isoclock.models.segmenter import Segmenter
from isoclock.models.trained import load_weights, new_segmenter
from isoclock.params.load import Params
from isoclock.params.schema import Method, Model, Recipe
from isoclock.records.document import read
from isoclock.records.record import TeacherRecord
from isoclock.training.step import TrainingStep, class_weights

NO_KD = (Method(method="none", implementation="reference", params={}, weights={}, provenance={"*": "ours"}),)


def trained_teacher(params: Params, dataset: str, model: str, data: PreparedData, layout: Layout) -> Segmenter:
    """The teacher with its weights. Raises ArtifactError if it diverged or was trained on other classes or data."""
    folder = layout.teacher(dataset, model)
    record = read(folder / "record.json", TeacherRecord, f"teacher {dataset} {model}")
    if record.status != "finished":
        raise ArtifactError(f"{folder / 'record.json'}: this teacher {record.status}: {record.message}")
    if record.params["classes"] != data.classes:
        raise ArtifactError(
            f"{folder}: this teacher was trained on another class list than {data.folder}; train it again"
        )
    if record.digests.weights != sha256_file(folder / "weights.safetensors"):
        raise ArtifactError(f"{folder / 'weights.safetensors'}: not the weights that record.json names; train it again")
    teacher = new_segmenter(params.model(model), len(data.classes), initial=False)
    load_weights(teacher, folder / "weights.safetensors", "teacher")
    return teacher


def assemble_step(
    recipe: Recipe,
    student_model: Model,
    data: PreparedData,
    device: torch.device,
    *,
    seed: int,
    method: Sequence[Method] = NO_KD,
    teacher: Segmenter | None = None,
) -> TrainingStep:
    """A training step with a fresh student. Every method of a seed starts from the same student.

    `method` is a variant and its extras (`Params.method_parts`). The random state is left at a function of the seed
    alone, so that dropout is the same for every method too.
    """
    num_classes = len(data.classes)
    torch.manual_seed(seed)
    student = new_segmenter(student_model, num_classes)
    torch.manual_seed(seed + 1)
    parts = [
        build_method(
            part.method,
            student=student.channels,
            teacher=teacher.channels if teacher is not None else student.channels,
            num_classes=num_classes,
            dataset_size=data.samples(recipe),
            implementation=part.implementation,
            active_terms=set(part.active_terms()),
            **part.params,
        )
        for part in method
    ]
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
