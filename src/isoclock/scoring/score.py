"""Scores of a trained student or teacher, from its last weights."""

from __future__ import annotations

import torch

from isoclock.data.loading.prepared import PreparedData
from isoclock.files import check_writable
from isoclock.models.segmenter import Segmenter
from isoclock.params.schema import Recipe
from isoclock.records.scores import ScoreDocument
from isoclock.scoring.overlays import spread_over
from isoclock.scoring.predict import predict_split, trained_network
from isoclock.scoring.scores import Scores, write_scores
from isoclock.scoring.target import Target

OVERLAYS = 4


def score(model: Segmenter, data: PreparedData, recipe: Recipe, device: torch.device, *, overlays: int = 0) -> Scores:
    """Score a model on the validation split as the recipe's `scoring` says, in the precision it was trained in.

    Predictions of `overlays` images, spread evenly, are kept for the eye.
    """
    val = data.split("val")
    counted = predict_split(model, val, recipe, len(data.classes), device, spread_over(len(val), overlays))
    return Scores(**vars(counted), scoring=recipe.scoring)


def evaluate_trained(target: Target, device: torch.device) -> ScoreDocument:
    """Score the last weights of a student or teacher on every validation image; writes and returns what `write_scores` does."""
    data, recipe = PreparedData.open(target.data), target.recipe
    target.record()  # raises if it was not trained, before anything is built
    check_writable(target.scores)
    network = trained_network(target.model, recipe, len(data.classes), target.weights, target.role, device)
    scores = score(network, data, recipe, device, overlays=OVERLAYS)
    return write_scores(scores, target)
