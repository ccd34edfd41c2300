"""The verb `evaluate`: the scores of a trained student, from its last weights."""

from __future__ import annotations

import torch

from isoclock.artifacts import read_json, write_json
from isoclock.data.packed import PackedSplit
from isoclock.data.prepared import PreparedData
from isoclock.grid import Cell, Layout
from isoclock.models.segmenter import Segmenter
from isoclock.models.trained import load_weights, new_segmenter
from isoclock.params import Params
from isoclock.schema import Recipe
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
    """Score a trained student and write scores.json, confusion.npz and overlays into its result folder."""
    data = PreparedData.open(layout.prepared(cell.dataset))
    recipe = params.recipe(cell.dataset, "student")
    trained, folder = layout.student(cell), layout.evaluation(cell)
    record = read_json(trained / "record.json", made_by="student")
    student = new_segmenter(params.model(params.pair(cell.pair).student), len(data.classes), initial=False)
    load_weights(student, trained / "weights.safetensors", "student")
    student.to(device)
    if recipe.channels_last:
        student.to(memory_format=torch.channels_last)
    torch.set_num_threads(recipe.threads)
    scores = score(student, data, recipe, device, overlays=OVERLAYS)
    packed = PackedSplit(data.folder, "val")
    pictures = (
        (scores.names[number], packed.image(number), packed.label(number), predicted)
        for number, predicted in sorted(scores.predictions.items())
    )
    write_overlays(folder / "overlays", pictures, data.index["palette"])
    scores.write_confusion(folder / "confusion.npz")
    write_json(
        folder / "scores.json",
        scores.as_json(
            classes=data.classes,
            dataset=cell.dataset,
            weights=record["digests"]["weights"],
            iterations=record["iterations"]["done"],
            cell=cell.as_dict(),
            status=record["status"],
        ),
    )
    return scores
