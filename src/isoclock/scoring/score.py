"""The verb `evaluate`: the scores of a trained student or teacher, from its last weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from isoclock.artifacts import read_json, write_json
from isoclock.data.packed import PackedSplit
from isoclock.data.prepared import PreparedData
from isoclock.grid import Cell, Layout
from isoclock.models.segmenter import Segmenter
from isoclock.models.trained import load_weights, new_segmenter
from isoclock.params import Params
from isoclock.protocol import check_version
from isoclock.schema import Model, Recipe
from isoclock.scoring.evaluate import Scores, evaluate_segmenter
from isoclock.scoring.overlays import spread_over, write_overlays

OVERLAYS = 4


def score(model: Segmenter, data: PreparedData, recipe: Recipe, device: torch.device, *, overlays: int = 0) -> Scores:
    """Score a model on the validation split as the recipe's `scoring` says, in the precision it was trained in."""
    return evaluate_segmenter(
        model,
        data.validation_images(recipe),
        num_classes=len(data.classes),
        scoring=recipe.scoring,
        precision=recipe.precision,
        channels_last=recipe.channels_last,
        device=device,
        keep=spread_over(len(PackedSplit(data.folder, "val")), overlays) if overlays else (),
    )


def evaluate_cell(params: Params, cell: Cell, layout: Layout, device: torch.device) -> Scores:
    """Score a trained student and write scores.json, confusion.npz and overlays into its result folder.

    Raises ArtifactError for one that was trained under another version of the protocol.
    """
    data = PreparedData.open(layout.prepared(cell.dataset))
    recipe = params.recipe(cell.dataset, "student")
    trained, folder = layout.student(cell), layout.evaluation(cell)
    record = read_json(trained / "record.json", made_by="student")
    check_version(trained / "record.json", record, f"train it again (isoclock student {cell.path})")
    student = _loaded(params.model(params.pair(cell.pair).student), trained, "student", data, recipe, device)
    scores = score(student, data, recipe, device, overlays=OVERLAYS)
    packed = PackedSplit(data.folder, "val")
    pictures = (
        (scores.names[number], packed.image(number), packed.label(number), predicted)
        for number, predicted in sorted(scores.predictions.items())
    )
    write_overlays(folder / "overlays", pictures, data.index["palette"])
    _write(scores, folder, data, record, cell.dataset, cell)
    return scores


def evaluate_teacher(params: Params, dataset: str, model: str, layout: Layout, device: torch.device) -> Scores:
    """Score a trained teacher and write scores.json and confusion.npz beside its weights.

    Its weights may be of an earlier version of the protocol: its training is not measured. The scores are of this one.
    """
    recipe, entry = params.recipe(dataset, "teacher"), params.model(model)
    data, folder = PreparedData.open(layout.prepared(dataset)), layout.teacher(dataset, model)
    record = read_json(folder / "record.json", made_by="teacher")
    scores = score(_loaded(entry, folder, "teacher", data, recipe, device), data, recipe, device)
    _write(scores, folder, data, record, dataset)
    return scores


def _loaded(
    model: Model, trained: Path, made_by: str, data: PreparedData, recipe: Recipe, device: torch.device
) -> Segmenter:
    """The network of a result folder on its device, with the recipe's memory layout and threads."""
    network = new_segmenter(model, len(data.classes), initial=False)
    load_weights(network, trained / "weights.safetensors", made_by)
    network.to(device)
    if recipe.channels_last:
        network.to(memory_format=torch.channels_last)
    torch.set_num_threads(recipe.threads)
    return network


def _write(
    scores: Scores, folder: Path, data: PreparedData, record: dict[str, Any], dataset: str, cell: Cell | None = None
) -> None:
    """confusion.npz first: where there are scores, they are whole."""
    scores.write_confusion(folder / "confusion.npz")
    write_json(
        folder / "scores.json",
        scores.as_json(
            classes=data.classes,
            dataset=dataset,
            weights=record["digests"]["weights"],
            iterations=record["iterations"]["done"],
            cell=None if cell is None else cell.as_dict(),
            status=record["status"],
        ),
    )
