"""Build a segmenter from its architecture's name and parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from isoclock.errors import ParamsError
from isoclock.facts import defaults, param_problems
from isoclock.models.card import architecture
from isoclock.models.segmenter import Segmenter


def build_segmenter(name: str, num_classes: int, *, weights: str | Path | None = None, **params: Any) -> Segmenter:
    """A segmenter on the CPU, in float32 and training mode; its weights are drawn from torch's generator.

    `name` is an architecture (`isoclock.models.architectures`), `params` are its own. `weights` is what it starts from: a tag
    of timm, "imagenet", "random", the path of a file, or None if the caller loads trained weights of the network later.
    Raises ParamsError that lists every unknown or unfit name and value, and what the architecture itself raises.
    """
    known = architecture(name)
    if problems := param_problems(name, known.params, params):
        raise ParamsError(problems)
    segmenter: Segmenter = known.defined.load()(num_classes, weights=weights, **defaults(known.params) | params)
    return segmenter


def parameter_count(module: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(parameter.numel() for parameter in module.parameters())
