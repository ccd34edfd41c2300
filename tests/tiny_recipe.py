"""A recipe for steps that take milliseconds."""

from __future__ import annotations

from typing import Any

from isoclock.params.schema import Recipe


def recipe(**changes: Any) -> Recipe:
    """A recipe for 16 x 32 crops of plain training on one thread; `changes` as in params/training.yaml."""
    values: dict[str, Any] = {
        "batch": 2,
        "crop": [16, 32],
        "scale": [1.0, 1.0],
        "flip": 0.0,
        "colour": [],
        "lr": 0.05,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "poly_power": 0.9,
        "min_lr": 0.0,
        "aux_weight": 0.4,
        "class_weights": "none",
        "precision": "fp32",
        "loss_precision": "autocast",
        "matmul_precision": "highest",
        "cudnn_benchmark": False,
        "teacher_inference": "eager",
        "compile": "none",
        "channels_last": False,
        "threads": 1,
        "workers": 0,
        "evaluations": 0,
        "checkpoint_every_s": 1e6,
        "provenance": {"*": "ours"},
    }
    return Recipe.model_validate(values | changes)
