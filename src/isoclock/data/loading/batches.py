"""Training batches by number: which samples are in them, and how they are augmented."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, get_worker_info

from isoclock.data.loading.augment import GEOMETRY, ORDER, PLAIN, CropRules, draw_sample, generator
from isoclock.data.loading.colour import Colour
from isoclock.data.loading.pixels import Pixels, SplitPixels
from isoclock.data.loading.recycled import PinnedMemory, RecycledMemory
from isoclock.labels import IGNORE


def sample_at(seed: int, number: int, count: int, order: int = ORDER) -> int:
    """The sample at position `number` of an endless sequence of shuffles of `count` samples."""
    return int(_shuffled(seed, number // count, count, order)[number % count])


class Batches(Dataset[dict[str, Any]]):
    """The batches of a run by number. One worker makes a whole batch. `pinned` makes them in pinned memory."""

    def __init__(
        self,
        parts: Sequence[tuple[SplitPixels, int, int]],  # split, images a batch, order
        seed: int,
        crop: tuple[int, int],
        scale: tuple[float, float],
        flip: float,
        colour: Colour,
        *,
        rules: CropRules = PLAIN,
        pinned: bool = False,
    ) -> None:
        self.parts, self.seed, self.crop, self.rules = parts, seed, crop, rules
        self.batch = sum(images for _, images, _ in parts)
        self.scale, self.flip, self.colour = scale, flip, colour
        self._memory = PinnedMemory() if pinned else RecycledMemory()

    def __getitem__(self, number: int) -> dict[str, Any]:
        before = time.process_time()
        made = {
            "images": self._memory.empty((self.batch, *self.crop, 3), np.uint8),
            "target": self._memory.empty((self.batch, *self.crop), np.uint8),
            "index": self._memory.empty((self.batch,), np.int64),
            "labelled": self._memory.empty((self.batch,), np.bool_),
        }
        images, target, index, labelled = (tensor.numpy() for tensor in made.values())
        for k, (split, i, before_it) in enumerate(self._drawn(number)):
            self._sample(split, i, number * self.batch + k, images[k], target[k])
            index[k], labelled[k] = before_it + i, split.labelled[i]
        target[~labelled] = IGNORE
        made["images"] = made["images"].permute(0, 3, 1, 2)
        if get_worker_info() is not None:
            # Tensors must be in shared memory to reach the training process. If /dev/shm is full, the error raised here
            # reaches that process. In the queue's thread it would only be logged, and the process would wait forever.
            for tensor in made.values():
                tensor.share_memory_()
        return {**made, "core_s": time.process_time() - before}

    def _drawn(self, number: int) -> Iterator[tuple[SplitPixels, int, int]]:
        """The samples of a batch: split, position in the split, and number of samples in the splits before it."""
        before_it = 0
        for split, images, order in self.parts:
            for k in range(images):
                yield split, sample_at(self.seed, number * images + k, len(split), order), before_it
            before_it += len(split)

    def _sample(self, split: SplitPixels, i: int, at: int, image: Pixels, label: Pixels) -> None:
        random, out = generator(self.seed, GEOMETRY, at), (image, label)
        inside = draw_sample(random, split, i, self.crop, self.scale, self.flip, self.colour.fill, out, self.rules)
        drawn = image[inside]  # colour leaves padding as it is
        coloured = self.colour.augment(drawn, self.seed, at)
        if coloured is not drawn:
            drawn[:] = coloured


@lru_cache(maxsize=4)
def _shuffled(seed: int, epoch: int, count: int, order: int) -> NDArray[np.int64]:
    return generator(seed, order, epoch).permutation(count)
