"""Batches for training, whole images for evaluation.

The order and the augmentation of samples are a function of (seed, global index) only. So the batches of a run do not
depend on the number of loader processes, nor on where the run was resumed.
"""

from __future__ import annotations

import atexit
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from isoclock.data.loading import bilinear
from isoclock.data.loading.ahead import CopiedAhead
from isoclock.data.loading.augment import ORDER, PLAIN, UNLABELLED_ORDER, CropRules
from isoclock.data.loading.batches import Batches
from isoclock.data.loading.colour import build_colour
from isoclock.data.loading.limits import BATCHES_AHEAD, socket_folder
from isoclock.data.loading.pixels import SplitPixels
from isoclock.data.loading.waiting import Waited
from isoclock.data.loading.workers import (
    CONNECTION_LOST,
    dead_worker,
    end_workers,
    silence_lost_connections,
    start_worker,
)

_CPU = torch.device("cpu")
_ENDLESS = 1 << 40


class TrainingStream:
    """An iterable of batches that can be iterated once.

    A batch holds images (B, 3, h, w) uint8 in channels-last memory, target (B, h, w) uint8 with 255 where void, index
    (B,) int64 of the samples in the split, and labelled (B,) bool. The training step converts them to float32 and
    int64, which take five times the memory. The last `unlabelled_per_batch` samples of a batch come from the split
    `unlabelled`, which is shuffled separately: their index continues after that of the split, their target is 255.

    `iterations` None never ends. `workers` 0 loads in this process. More workers are processes that ignore SIGINT and
    SIGTERM, because the training process decides when a run stops; `close` ends them early. `wait_s` is the time spent
    waiting for batches so far, `loader_core_s` the processor time used for the batches received. Raises ParamsError for
    a colour list that cannot be built.

    A wait for a batch is reported after 10 s. It raises NoData after `timeout_s`, and Stopped where a stop is requested
    (`isoclock.data.loading.waiting`).

    A batch is on `device`. For a GPU it is made in pinned memory, and the next batch is copied while the current one is
    used. A batch that was not received yet is not counted anywhere.
    """

    def __init__(
        self,
        split: SplitPixels,
        *,
        seed: int,
        batch: int,
        crop: tuple[int, int],
        scale: tuple[float, float],
        flip: float,
        colour: Sequence[Mapping[str, Any]],
        rules: CropRules = PLAIN,
        unlabelled: SplitPixels | None = None,
        unlabelled_per_batch: int = 0,
        start_iteration: int = 0,
        iterations: int | None = None,
        workers: int = 0,
        timeout_s: float = 600.0,
        device: torch.device = _CPU,
    ) -> None:
        self.wait_s = 0.0
        self.loader_core_s = 0.0
        parts = [(split, batch - unlabelled_per_batch, ORDER)]
        if unlabelled is not None:
            parts.append((unlabelled, unlabelled_per_batch, UNLABELLED_ORDER))
        self._workers, self._device, self._on_gpu = workers, device, device.type != "cpu"
        self._timeout_s = timeout_s
        # A loader process cannot pin memory: the loader copies what it sends to pinned memory, in a thread here.
        pinned = self._on_gpu and workers == 0
        self._batches = Batches(parts, seed, crop, scale, flip, build_colour(colour), rules=rules, pinned=pinned)
        end = _ENDLESS if iterations is None else start_iteration + iterations
        self._numbers = range(start_iteration, end)
        self._source: Iterator[dict[str, Any]] | None = None
        self._loaders: set[BaseProcess] = set()

    def __iter__(self) -> TrainingStream:
        if self._source is None:
            source = self._open()
            self._source = CopiedAhead(source, self._device) if self._on_gpu else source
        return self

    def __next__(self) -> dict[str, Tensor]:
        self.__iter__()
        assert self._source is not None
        asked = time.perf_counter()
        try:
            made = next(self._source)
        except (*CONNECTION_LOST, RuntimeError) as error:
            lost = isinstance(error, CONNECTION_LOST) or "Pin memory thread" in str(error)  # which reads from loaders
            if lost and (dead := dead_worker(self._loaders)) is not None:
                raise dead from error
            raise
        self.wait_s += time.perf_counter() - asked
        self.loader_core_s += float(made.pop("core_s"))
        return made

    def close(self) -> None:
        """End the loader processes. The stream has no batches after that."""
        # DataLoader ends its workers when its iterator is collected, here in the thread of `Waited`.
        self._source = iter(())

    def _open(self) -> Iterator[dict[str, Any]]:
        bilinear.compiled()
        if self._workers == 0:
            # Crops are too small for OpenCV's thread pool, which would compete with that of torch.
            cv2.setNumThreads(1)
            made = (self._batches[number] for number in self._numbers)
            return Waited(made, self._timeout_s, "this process (workers: 0)")
        silence_lost_connections()
        loader = DataLoader(
            self._batches,
            batch_size=None,
            sampler=_Numbers(self._numbers),
            num_workers=self._workers,
            prefetch_factor=BATCHES_AHEAD,
            pin_memory=self._on_gpu,
            worker_init_fn=partial(start_worker, socket_folder()),
            # A separate generator: otherwise the loader draws from the global one, and dropout depends on `workers`.
            generator=torch.Generator(),
        )
        before = set(multiprocessing.active_children())
        source = iter(loader)
        self._loaders = set(multiprocessing.active_children()) - before
        atexit.register(end_workers, self._loaders)
        pids = ", ".join(str(process.pid) for process in self._loaders)
        return Waited(source, self._timeout_s, f"loader processes {pids}")


def whole_images(split: SplitPixels) -> Iterator[tuple[Tensor, NDArray[np.uint8], str]]:
    """Every image of a split: image (1, 3, H, W) uint8 in channels-last memory, label (H, W) uint8, name."""
    for i, name in enumerate(split.names):
        # Copies: torch warns about read-only arrays.
        yield torch.from_numpy(split.image(i).copy()).permute(2, 0, 1)[None], split.label(i).copy(), name


class _Numbers(torch.utils.data.Sampler[int]):
    """A range as a sampler without a length: an endless range is too long for `len`."""

    def __init__(self, numbers: range) -> None:
        self._numbers = numbers

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)
