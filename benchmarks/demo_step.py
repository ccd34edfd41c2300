"""The training step of the demo, on batches in memory, for other benchmarks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from measure import ROOT
from torch import Tensor

from isoclock.methods import build_method
from isoclock.models.segmenter import Segmenter
from isoclock.models.trained import new_segmenter
from isoclock.params.check import load_params
from isoclock.params.schema import Recipe
from isoclock.runner.device import choose_device
from isoclock.training.device import use_threads
from isoclock.training.step import TrainingStep

MODEL = "psp-r10t"
CLASSES = 19


def demo_recipe(batch: int = 8, crop: tuple[int, int] = (64, 128)) -> Recipe:
    """The parts of the demo student's recipe that affect a step."""
    changes = {
        "batch": batch,
        "crop": crop,
        "class_weights": "none",
        "lr": 0.01,  # so that random labels do not make it diverge
        "evaluations": 0,
        "checkpoint_every_s": 1e9,
    }
    return load_params(ROOT / "params").recipe("streets", "student").model_copy(update=changes)


def demo_network(seed: int = 0) -> Segmenter:
    """A PSPNet on a ResNet-10t, with fixed random weights."""
    torch.manual_seed(seed)
    return new_segmenter(load_params(ROOT / "params").model(MODEL), CLASSES, initial=False)


def demo_step(recipe: Recipe) -> TrainingStep:
    """isoclock's step of the student alone."""
    use_threads(recipe.threads)
    student = demo_network()
    method = build_method(
        "none",
        student=student.channels,
        teacher=student.channels,
        num_classes=CLASSES,
        dataset_size=1,
        active_terms=set(),
    )
    return TrainingStep(student, method, {}, recipe, choose_device(), num_classes=CLASSES)


def demo_batches(recipe: Recipe, count: int = 8) -> list[Mapping[str, Tensor]]:
    """Batches in the format of `TrainingStream`; a tenth of the pixels is void."""
    random = torch.Generator().manual_seed(0)
    made: list[Mapping[str, Tensor]] = []
    for number in range(count):
        target = torch.randint(0, CLASSES, (recipe.batch, *recipe.crop), generator=random)
        target[torch.rand(target.shape, generator=random) < 0.1] = 255
        images = torch.randint(0, 256, (recipe.batch, 3, *recipe.crop), generator=random, dtype=torch.uint8)
        made.append(
            {
                "images": images.contiguous(memory_format=torch.channels_last),
                "target": target.byte(),
                "index": torch.arange(recipe.batch) + number * recipe.batch,
                "labelled": torch.ones(recipe.batch, dtype=torch.bool),
            }
        )
    return made
