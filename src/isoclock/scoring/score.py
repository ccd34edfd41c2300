"""Scores of a trained student or teacher, from its last weights."""

from __future__ import annotations

import torch

from isoclock.data.loading.prepared import PreparedData
from isoclock.data.packing.packed import PackedSplit
from isoclock.models.segmenter import Segmenter
from isoclock.models.trained import load_weights, new_segmenter
from isoclock.params.schema import Recipe
from isoclock.scoring.evaluate import evaluate_segmenter
from isoclock.scoring.overlays import spread_over
from isoclock.scoring.scores import Scores, write_scores
from isoclock.scoring.target import Target

OVERLAYS = 4


def score(model: Segmenter, data: PreparedData, recipe: Recipe, device: torch.device, *, overlays: int = 0) -> Scores:
    """Score a model on the validation split as the recipe's `scoring` says, in the precision it was trained in.

    Predictions of `overlays` images, spread evenly, are kept for the eye.
    """
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


def evaluate_trained(target: Target, device: torch.device) -> Scores:
    """Score the last weights of a student or teacher on every validation image, and write what `write_scores` does."""
    data, recipe = PreparedData.open(target.data), target.recipe
    target.record()  # raises if it was not trained, before anything is built
    network = new_segmenter(target.model, len(data.classes), initial=False)
    load_weights(network, target.weights, target.role)
    network.to(device)
    if recipe.channels_last:
        network.to(memory_format=torch.channels_last)
    torch.set_num_threads(recipe.threads)
    scores = score(network, data, recipe, device, overlays=0 if target.cell is None else OVERLAYS)
    write_scores(scores, target)
    return scores
