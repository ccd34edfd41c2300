"""Reading a golden file, and what a file of `published/` says of it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isoclock.methods import Batch, ChannelSpec, Method, build_method
from isoclock.models import SegmenterOutput
from isoclock.runner.device import choose_device

INPUTS = ("student_logits", "teacher_logits", "student_feature", "teacher_feature")


@dataclass(frozen=True)
class Variant:
    """Which of our methods, with which params, gives a golden's term; `term` is our name of it.

    `states` maps a golden's state to our buffer's name where the two differ, and names to None what we do not keep.
    """

    method: str
    term: str
    params: dict[str, Any]
    states: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Golden:
    """One file: arrays by key, and the description."""

    path: Path
    arrays: Mapping[str, np.ndarray]
    meta: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Golden:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files if name != "meta"}
            return cls(path, arrays, json.loads(str(stored["meta"])))

    def tensor(self, key: str) -> Tensor | None:
        return torch.as_tensor(self.arrays[key]) if key in self.arrays else None

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays below `prefix.`, by the rest of their key."""
        return {key[len(prefix) + 1 :]: array for key, array in self.arrays.items() if key.startswith(f"{prefix}.")}

    def draws(self) -> dict[str, Tensor]:
        return {name: torch.as_tensor(array) for name, array in self.under("rng").items()}

    def batch(self) -> Batch:
        images = len(next(array for name, array in self.arrays.items() if name.startswith("in.student")))
        target, index = self.tensor("in.target"), self.tensor("in.index")
        return Batch(
            target=torch.full((images, 64, 128), 255) if target is None else target,
            index=torch.arange(images) if index is None else index,
            labelled=torch.full((images,), target is not None),
        )

    def method(self, variant: Variant, implementation: str) -> Method:
        """Ours in float64, for the golden's channels and classes, with the golden's parameters and states."""
        shapes = self.meta["shapes"]
        method = build_method(
            variant.method,
            student=ChannelSpec(backbone=shapes["Cs"] or 8, head=shapes["Cs"] or 8),
            teacher=ChannelSpec(backbone=shapes["Ct"] or 16, head=shapes["Ct"] or 16),
            num_classes=shapes["K"],
            dataset_size=self.meta["config"].get("n_data", 16),
            implementation=implementation,
            active_terms={variant.term},
            **variant.params,
        ).to(choose_device(), torch.float64)
        parameters = {name: value for name, value in method.named_parameters() if value.requires_grad}
        assert set(parameters) == set(self.under("param"))
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(torch.as_tensor(self.arrays[f"param.{name}"]))
            for ours, array in self.states("state", variant).items():
                method.get_buffer(ours).copy_(torch.as_tensor(array))
        return method

    def states(self, when: str, variant: Variant) -> dict[str, np.ndarray]:
        """The golden's states `state` or `state_after`, by the names of our buffers."""
        named = {variant.states.get(name, name): array for name, array in self.under(when).items()}
        return {name: array for name, array in named.items() if name is not None}


def output(logits: Tensor | None, feature: Tensor | None) -> SegmenterOutput:
    return SegmenterOutput(logits, None, {} if feature is None else {"head": feature})


@dataclass(frozen=True)
class Published:
    """A file of `published/`: which goldens it can map, and how."""

    variants: Callable[[dict[str, Any]], dict[str, Variant]]
    draws: Callable[[Golden], dict[str, Tensor]]
    prepare: Callable[[Golden, Method], None]


def published() -> dict[str, Published]:
    """By a golden's method name. A file defines `variants(meta)`, and may define `draws(golden)` and `prepare(golden, method)`."""
    found = {}
    for path in sorted((Path(__file__).parent / "published").glob("*.py")):
        module = _load(path)
        for name in module.GOLDENS:
            found[name] = Published(
                module.variants,
                getattr(module, "draws", Golden.draws),
                getattr(module, "prepare", lambda _golden, _method: None),
            )
    return found


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"published_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
