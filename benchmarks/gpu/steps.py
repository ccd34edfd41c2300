"""Training steps at a study's size, on random batches in memory, for the parts that time steps."""

from __future__ import annotations

import copy
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from isoclock.budget.measure import cost_of, steps_for
from isoclock.data.loading.prepared import PreparedData
from isoclock.methods import cards
from isoclock.models.segmenter import Segmenter
from isoclock.models.trained import new_segmenter
from isoclock.params.check import load_params
from isoclock.params.schema import MethodEntry, Model
from isoclock.training.assemble import assemble_step
from isoclock.training.device import synchroniser
from isoclock.training.step import Mark, TrainingStep, no_mark

ROOT = Path(__file__).resolve().parents[2]
PATCH = 64  # pixels of a patch of one class
LR = 1e-5  # a small rate, so that random labels do not make a step diverge
SEED = 7
TRAIN_IMAGES = 2975


@dataclass(frozen=True)
class Size:
    """The size of a step: of which recipe, and with how many classes."""

    dataset: str
    pair: str
    crop: tuple[int, int]  # pixels (height, width)
    batch: int  # images
    classes: int


SIZES = {
    "cityscapes": Size("cityscapes", "r101-r18", (512, 1024), 8, 19),
    "ade20k": Size("ade20k", "r101-r18", (512, 512), 16, 150),
}
TINY = Size("streets", "r10t-tiny", (64, 128), 2, 19)


@dataclass(frozen=True)
class MadeUpData:
    """What a step needs to know of a prepared data set."""

    classes: list[str]
    class_pixels: list[int]
    train_images: int = TRAIN_IMAGES
    unlabelled_images: int = 0


@dataclass
class Steps:
    """Builds training steps of one size, and times them next to the anchor's."""

    size: Size
    device: torch.device
    window_s: float = 0.25
    windows: int = 5
    _teacher: Segmenter | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.params = load_params(ROOT / "params")
        changes = {"batch": self.size.batch, "crop": self.size.crop, "workers": 0}
        self.recipe = self.params.recipe(self.size.dataset, "student").model_copy(update=changes)
        self.pair = self.params.pair(self.size.pair)
        names = [str(number) for number in range(self.size.classes)]
        self.data = cast(PreparedData, MadeUpData(names, [1] * self.size.classes))
        self.synchronise = synchroniser(self.device)
        random = torch.Generator().manual_seed(0)
        self.batches = [self._pinned(_batch(self.size, random)) for _ in range(3)]

    def build(self, entry: str, implementation: str | None = None, **recipe: Any) -> TrainingStep:
        """The step of an entry of params/methods.yaml, with changes of the recipe."""
        gc.collect()
        parts = self._parts(entry, implementation)
        has_teacher = any(part.method != "none" for part in parts)
        return assemble_step(
            self.recipe.model_copy(update=recipe),
            _random(self.params.model(self.pair.student)),
            self.data,
            self.device,
            seed=SEED,
            method=parts,
            teacher=self.teacher() if has_teacher else None,
        )

    def teacher(self) -> Segmenter:
        """A teacher of random weights, which costs what a trained one does."""
        if self._teacher is None:
            torch.manual_seed(SEED)
            self._teacher = new_segmenter(_random(self.params.model(self.pair.teacher)), self.size.classes)
        return copy.deepcopy(self._teacher)

    def implementations(self, entry: str) -> tuple[str, ...]:
        """The implementations that an entry's method has."""
        return cards()[self.params.method(entry).method].implementations

    def window(self, step: TrainingStep, count: int, mark: Mark = no_mark, *, batches: Any = None) -> float:
        """Seconds a step, over `count` steps."""
        batches = batches or self.batches
        return self.seconds(lambda number: step(batches[number % len(batches)], LR, mark), count)

    def seconds(self, work: Callable[[int], object], count: int) -> float:
        """Seconds of one of `count` calls, the device's work included."""
        self.synchronise()
        started = time.perf_counter()
        for number in range(count):
            work(number)
        self.synchronise()
        return (time.perf_counter() - started) / count

    def compare(self, work: Callable[[int], object], base: Callable[[int], object]) -> dict[str, Any]:
        """Paired windows of two kinds of calls: the ratio with its interval, and the median of each, milliseconds."""
        counts = [self._warm(one) for one in (work, base)]
        pairs = []
        for number in range(self.windows):
            sides = [(work, counts[0]), (base, counts[1])]
            order = (0, 1) if number % 2 == 0 else (1, 0)
            seconds = {at: self.seconds(*sides[at]) for at in order}
            pairs.append((seconds[0], seconds[1]))
        return {
            **cost_of([{"ratio": one / other} for one, other in pairs]),
            "windows": len(pairs),
            "step_ms": statistics.median(one for one, _ in pairs) * 1e3,
            "anchor_ms": statistics.median(other for _, other in pairs) * 1e3,
        }

    def call(self, step: TrainingStep, batches: Any = None) -> Callable[[int], object]:
        """What `compare` calls for a step."""
        there = batches or self.batches
        return lambda number: step(there[number % len(there)], LR)

    def _warm(self, work: Callable[[int], object]) -> int:
        """Warm up, and return how many calls make a window."""
        self.seconds(work, 3)
        return steps_for(self.window_s, self.seconds(work, 2))

    def _parts(self, entry: str, implementation: str | None) -> list[MethodEntry]:
        parts = self.params.method_parts(entry, self.size.dataset)
        if implementation is None:
            return list(parts)
        known = cards()
        return [
            part.model_copy(update={"implementation": implementation})
            if implementation in known[part.method].implementations
            else part
            for part in parts
        ]

    def _pinned(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        cuda = self.device.type == "cuda"
        return {name: tensor.pin_memory() if cuda else tensor for name, tensor in batch.items()}


def steps_of(arguments: Any, size: str = "cityscapes", **settings: Any) -> Steps:
    """The steps that a part times, by its arguments."""
    tiny = {"window_s": 0.01, "windows": 2} if arguments.tiny else {}
    return Steps(TINY if arguments.tiny else SIZES[size], torch.device(arguments.device), **settings | tiny)


def _random(model: Model) -> Model:
    """The same network with random weights: a benchmark needs no download."""
    return model.model_copy(update={"weights": "random"})


def _batch(size: Size, random: torch.Generator) -> dict[str, Tensor]:
    """Images (B,3,h,w) uint8 as the loader makes them; labels in patches of one class, the top tenth ignored."""
    height, width = size.crop
    patches = (size.batch, -(-height // PATCH), -(-width // PATCH))
    target = torch.randint(size.classes, patches, generator=random, dtype=torch.uint8)
    target = target.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, :height, :width].contiguous()
    target[:, : height // 10] = 255
    images = torch.randint(256, (size.batch, height, width, 3), generator=random, dtype=torch.uint8)
    return {
        "images": images.permute(0, 3, 1, 2),
        "target": target,
        "index": torch.arange(size.batch),
        "labelled": torch.ones(size.batch, dtype=torch.bool),
    }
