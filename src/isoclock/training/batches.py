"""The batches of a run: a function of data, recipe, seed and iteration, the same in every process."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from isoclock.data.loading.augment import CropRules
from isoclock.data.loading.limits import check_machine
from isoclock.data.loading.stream import TrainingStream
from isoclock.labels import UNLABELLED

if TYPE_CHECKING:
    import torch

    from isoclock.data.loading.prepared import PreparedData
    from isoclock.params.schema import Recipe

PRETRAIN_SEED = 15485863  # added to a run's: pre-training sees the samples in an order of its own


def training_batches(
    data: PreparedData,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    *,
    start: int = 0,
    iterations: int | None = None,
) -> TrainingStream:
    """Batches of a run on `device` from iteration `start` on; `iterations` of them, or without end."""
    return TrainingStream(
        data.split("train"),
        seed=seed,
        batch=recipe.batch,
        crop=recipe.crop,
        scale=recipe.scale,
        flip=recipe.flip,
        colour=recipe.colour,
        rules=crop_rules(recipe),
        unlabelled=data.split(UNLABELLED) if recipe.unlabelled_per_batch else None,
        unlabelled_per_batch=recipe.unlabelled_per_batch,
        start_iteration=start,
        iterations=iterations,
        workers=recipe.workers,
        timeout_s=recipe.loader_timeout_s,
        device=device,
    )


def crop_rules(recipe: Recipe) -> CropRules:
    """How the crops of a recipe are drawn, apart from scale and flip."""
    return CropRules(**{rule.name: getattr(recipe, rule.name) for rule in fields(CropRules)})


def check_loading(recipe: Recipe) -> None:
    """Raise UserError where this machine cannot run the recipe's loader processes."""
    height, width = recipe.crop
    check_machine(recipe.workers, 4 * recipe.batch * height * width)  # bytes of three channels and the label


def pretraining_batches(
    data: PreparedData, recipe: Recipe, seed: int, device: torch.device, *, start: int
) -> TrainingStream:
    """Batches of the method's pre-training on `device` from its step `start` on, without end."""
    return training_batches(data, recipe, seed + PRETRAIN_SEED, device, start=start)


def sample_count(data: PreparedData, recipe: Recipe) -> int:
    """Number of samples that a run draws from: the indices in its batches stay below it."""
    return data.train_images + (data.unlabelled_images if recipe.unlabelled_per_batch else 0)
