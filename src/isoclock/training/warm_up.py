"""Warming up a run's real step before its train clock starts: what a first step costs is no part of a method's cost."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from isoclock.training.step import TrainingStep

STEPS = 3  # a CUDA graph is recorded in the second and replayed from the third on


def is_worthwhile(step: TrainingStep) -> bool:
    """Whether first steps load modules, try algorithms or compile: on a GPU, and where anything is compiled."""
    recipe = step.recipe
    return step.device.type == "cuda" or recipe.compile != "none" or recipe.teacher_inference == "compiled"


def warm_up(
    step: TrainingStep,
    batch: Mapping[str, Tensor],
    save: Callable[[], dict[str, Any]],
    restore: Callable[[Mapping[str, Any]], None],
) -> None:
    """Do a few steps on a batch, of the pre-training too where there is one, and leave everything as it was.

    `save` and `restore` are those of the training loop: weights, buffers, optimisers, the method's state, torch's
    generators. Those of Python and NumPy are restored too, and no gradient remains.
    """
    state = copy.deepcopy(save())
    python, numpy = random.getstate(), np.random.get_state()
    for _ in range(STEPS):
        if step.method.pretrain_iterations:
            step.pretrain(batch, 1.0)
        step(batch, step.recipe.lr * 1e-3)
    restore(state)
    random.setstate(python)
    np.random.set_state(numpy)
    for module in (step.student, step.method):
        module.zero_grad(set_to_none=True)
