"""What a training sample costs a core: out of a packed split, and the plain way, PNG files through albumentations.

Both scale, crop, flip and normalise the demo's scenes, make batches of them, and are measured in processor time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from demo_step import demo_recipe
from measure import Result, in_turns, pairwise, show
from torch import Tensor

from isoclock.data.cityscapes import READER
from isoclock.data.loading import TrainingStream
from isoclock.data.packed import PackedSplit
from isoclock.data.prepare import prepare
from isoclock.data.streets import make_streets
from isoclock.schema import Recipe


def measure(rounds: int = 9, batches: int = 10, images: int = 16, size: tuple[int, int] = (128, 256)) -> Result:
    """In turns: `batches` batches each way."""
    cv2.setNumThreads(1)
    recipe = demo_recipe()
    with TemporaryDirectory() as name:
        raw, out = Path(name) / "raw", Path(name) / "packed"
        make_streets(raw, train=images, val=1, size=size)
        prepare(READER, raw, out, splits={"train": "train"}, dataset="streets")
        stream = TrainingStream(
            PackedSplit(out, "train"),
            seed=0,
            batch=recipe.batch,
            crop=recipe.crop,
            scale=recipe.scale,
            flip=recipe.flip,
            colour=recipe.colour,
        )
        ways: dict[str, Callable[[], Any]] = {"packed": lambda: next(stream), "plain": _plain_loader(raw, recipe)}

        def core_s(way: str) -> float:
            started = time.process_time()
            for _ in range(batches):
                ways[way]()
            return (time.process_time() - started) / (batches * recipe.batch)

        for way in ways:
            core_s(way)
        found = in_turns(rounds, packed=lambda: core_s("packed"), plain=lambda: core_s("plain"))
    return Result(
        "data",
        "core seconds a training sample",
        {"a packed sample": found["packed"], "a plain sample": found["plain"]},
        {"samples/s a core, packed / plain": pairwise(found["plain"], found["packed"])},
        (),
        {"size": list(size), "crop": list(recipe.crop), "batch": recipe.batch, "colour": recipe.colour},
    )


def _plain_loader(raw: Path, recipe: Recipe) -> Callable[[], tuple[Tensor, Tensor]]:
    """Decode, map labels, transform by albumentations, stack."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A

    height, width = recipe.crop
    transform = A.Compose(
        [
            A.RandomScale(scale_limit=(recipe.scale[0] - 1, recipe.scale[1] - 1), p=1.0),
            A.PadIfNeeded(height, width, fill_mask=255),
            A.RandomCrop(height, width),
            A.HorizontalFlip(p=recipe.flip),
            A.Normalize(**{key: value for key, value in recipe.colour[-1].items() if key != "transform"}),
        ]
    )
    table = READER.label_table
    samples = READER.pairs(raw, "train")
    for sample in samples:  # the generated files are stored, not compressed: data sets as they are found are
        for path in (sample.image_path, sample.label_path):
            assert path is not None
            cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    order = cycle(samples)

    def batch() -> tuple[Tensor, Tensor]:
        images, targets = [], []
        for _ in range(recipe.batch):
            sample = next(order)
            image = cv2.cvtColor(cv2.imread(str(sample.image_path)), cv2.COLOR_BGR2RGB)
            label = table[cv2.imread(str(sample.label_path), cv2.IMREAD_UNCHANGED)]
            made = transform(image=image, mask=label)
            images.append(torch.from_numpy(np.ascontiguousarray(made["image"])).permute(2, 0, 1))
            targets.append(torch.from_numpy(np.ascontiguousarray(made["mask"])).long())
        return torch.stack(images), torch.stack(targets)

    return batch


if __name__ == "__main__":
    show([measure()])
