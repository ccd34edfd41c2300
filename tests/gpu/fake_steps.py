"""The complete training step of an entry of params/methods.yaml on fake CUDA tensors, at the size of a paper's recipe."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from fake_cuda import CUDA, fake_cuda
from operator_watch import OperatorWatch
from torch import Tensor, nn

from isoclock.methods import cards
from isoclock.models.outputs import AUX_LOGITS, BACKBONE, HEAD, LOGITS, ChannelSpec, SegmenterOutput
from isoclock.models.segmenter import Segmenter
from isoclock.models.trained import new_segmenter
from isoclock.params.load import Params, read_params
from isoclock.training.assemble import assemble_step
from isoclock.training.step import TrainingStep

REPOSITORY = Path(__file__).resolve().parents[2]
PAIR = "r101-r18"
CLASSES = {"cityscapes": 19, "ade20k": 150}
"""Classes of the data sets whose recipes are used: 8 images of 512x1024, and 16 of 512x512."""
COUNTED = ("loss", "backward", "adversary", "pretrain")
"""Phases whose operators are counted; the networks are stand-ins."""


@dataclass
class Result:
    """What one entry did in its second step, by phase: calls of operators, and MiB read and written."""

    counts: dict[str, tuple[int, float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)


class StandIn(Segmenter):
    """One convolution for each output, with the channels and the strides of the real network."""

    params = {}
    output_stride = 8
    taps = {BACKBONE: 8, HEAD: 8}
    auxiliary_head = True

    def __init__(self, channels: ChannelSpec, num_classes: int) -> None:
        super().__init__()
        self.channels, self.num_classes = channels, num_classes
        self.backbone = nn.Conv2d(3, channels.backbone, 8, stride=8)
        self.head = nn.Conv2d(3, channels.head, 8, stride=8)
        self.classifier = nn.Conv2d(channels.head, num_classes, 1)
        self.auxiliary = nn.Conv2d(3, num_classes, 8, stride=8)

    def forward(self, images: Tensor, want: Set[str] = frozenset({LOGITS})) -> SegmenterOutput:
        self.check_wanted(want)
        features = {name: layer(images).relu() for name, layer in ((BACKBONE, self.backbone), (HEAD, self.head))}
        return SegmenterOutput(
            self.classifier(features[HEAD]) if LOGITS in want else None,
            self.auxiliary(images) if AUX_LOGITS in want else None,
            {name: feature for name, feature in features.items() if name in want},
        )


def cases(params: Params, further: bool = True) -> list[tuple[str, str, str]]:
    """Data set, entry and implementation: every entry with 19 classes; with 150 the first entry of each method whose cost
    depends on the number of classes, K. Without `further`, with 19 classes too only the first entry of each method.
    """
    first = {entry.method: name for name, entry in reversed(params.methods.items())}
    entries = [name for name, entry in params.methods.items() if further or first[entry.method] == name]
    many = [name for method, name in first.items() if re.search(r"\bK\b", cards()[method].cost)]
    return [
        (dataset, name, implementation)
        for dataset, names in (("cityscapes", entries), ("ade20k", sorted(many)))
        for name in names
        for implementation in cards()[params.methods[name].method].implementations
    ]


def repository_params() -> Params:
    """The parameters of this repository."""
    return read_params(REPOSITORY / "params")


def run_entry(params: Params, dataset: str, name: str, implementation: str) -> Result:
    """Two training steps and two of pre-training; the second ones are counted."""
    result = Result()
    watch = OperatorWatch()
    launches = mock.patch("triton.runtime.JITFunction.run", lambda *args, **kwargs: watch.launch(*args, **kwargs))
    try:
        with fake_cuda(), launches, watch:
            watch.uploads_allowed = True
            step = _step(params, dataset, name, implementation)
            _train_twice(step, _batch(params, dataset), watch, result)
    except Exception as error:  # one entry's fault does not hide the others'
        result.problems.append(_described(error))
    result.problems += watch.problems
    result.waits = sorted(watch.waits)
    return result


def _described(error: Exception) -> str:
    """Type and first line of an error, and the innermost line of isoclock."""
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if "/isoclock/" in frame.filename]
    place = f"{places[-1].filename.rpartition('/isoclock/')[2]}:{places[-1].lineno}" if places else "?"
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]} in {place}"


def _train_twice(step: TrainingStep, batch: Mapping[str, Tensor], watch: OperatorWatch, result: Result) -> None:
    """Fill in the counts of the second steps, and what is wrong with terms and states."""
    for _ in range(2):
        counted = _Phases(watch)
        losses = step(batch, 0.01, counted.mark)
    for term, value in losses.terms.items():
        if value.dtype != torch.float32 or not value.is_cuda:
            result.problems.append(f"term {term} is {value.dtype} on {value.device}")
    if step.method.pretrain_iterations:
        for _ in range(2):
            pretraining = _Phases(watch)
            step.pretrain(batch, 0.5, pretraining.mark)
        counted.calls["pretrain"], counted.moved["pretrain"] = pretraining.calls["loss"], pretraining.moved["loss"]
    result.problems += _left_on_cpu(step)
    for phase in COUNTED:
        if phase in counted.calls:
            result.counts[phase] = (counted.calls[phase], round(counted.moved[phase] / 2**20, 1))


class _Phases:
    """Calls and bytes of every phase of a step. Only the transfer of a batch may bring tensors from the CPU."""

    def __init__(self, watch: OperatorWatch) -> None:
        self.watch = watch
        self.calls: dict[str, int] = {}
        self.moved: dict[str, int] = {}
        self._before = (watch.calls, watch.bytes_moved)
        watch.uploads_allowed = True

    def mark(self, phase: str) -> None:
        calls, moved = self.watch.calls, self.watch.bytes_moved
        self.calls[phase], self.moved[phase] = calls - self._before[0], moved - self._before[1]
        self._before = (calls, moved)
        self.watch.uploads_allowed = False


def _step(params: Params, dataset: str, name: str, implementation: str) -> TrainingStep:
    parts = [
        part.model_copy(update={"implementation": implementation})
        if implementation in cards()[part.method].implementations
        else part
        for part in params.method_parts(name, dataset)
    ]
    recipe = params.recipe(dataset, "student")
    recipe = recipe.model_copy(update={"compile": "none", "teacher_inference": "eager"})
    pair, classes = params.pair(PAIR), CLASSES[dataset]
    data: Any = SimpleNamespace(
        classes=[str(number) for number in range(classes)],
        class_pixels=[100 + number for number in range(classes)],
        train_images=2975,
        unlabelled_images=0,
    )
    student = params.model(pair.student)
    with mock.patch("isoclock.training.assemble.new_segmenter", _stand_in):
        teacher = _stand_in(params.model(pair.teacher), classes)
        return assemble_step(recipe, student, data, CUDA, seed=1, method=parts, teacher=teacher)


def _stand_in(model: Any, classes: int, **_: Any) -> Segmenter:
    return StandIn(_channels(model.architecture, tuple(sorted(model.params.items()))), classes)


@cache
def _channels(architecture: str, model_params: tuple[tuple[str, Any], ...]) -> ChannelSpec:
    model: Any = SimpleNamespace(architecture=architecture, params=dict(model_params), weights="random")
    return new_segmenter(model, 2, initial=False).channels


def _batch(params: Params, dataset: str) -> Mapping[str, Tensor]:
    """As the loader gives it: bytes, on the CPU."""
    recipe = params.recipe(dataset, "student")
    size = (recipe.batch, *recipe.crop)
    return {
        "images": torch.empty(*size, 3, dtype=torch.uint8).permute(0, 3, 1, 2),
        "target": torch.empty(size, dtype=torch.uint8),
        "index": torch.empty(recipe.batch, dtype=torch.int64),
        "labelled": torch.empty(recipe.batch, dtype=torch.bool),
    }


def _left_on_cpu(step: TrainingStep) -> list[str]:
    """Parameters, buffers and the states of all optimisers that are not on the GPU."""
    modules = {"student": step.student, "method": step.method, "teacher": step.teacher}
    found = [
        f"{whose}.{name} is on {tensor.device}"
        for whose, module in modules.items()
        if module is not None
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
        if not tensor.is_cuda
    ]
    parts = getattr(step.method, "methods", [step.method])
    optimisers = {"student": step.optimiser, **{k: v for part in parts for k, v in part.optimisers.items()}}
    return found + [
        f"{key} of the optimiser {whose} is on {value.device}"
        for whose, optimiser in optimisers.items()
        for state in optimiser.state.values()
        for key, value in state.items()
        if torch.is_tensor(value) and value.dim() > 0 and not value.is_cuda
    ]
