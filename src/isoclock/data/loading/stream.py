"""Batches for training, whole images for evaluation.

Which sample comes when, and how it is augmented, is a function of (seed, global index) only. So the batches of a run
are the same for any number of loader processes and wherever the run is resumed.
"""

from __future__ import annotations

import atexit
import multiprocessing
import signal
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from isoclock.data.labels import IGNORE
from isoclock.data.loading import bilinear
from isoclock.data.loading.augment import GEOMETRY, ORDER, UNLABELLED_ORDER, crop_sample, draw_geometry, generator
from isoclock.data.loading.colour import Colour, build_colour
from isoclock.data.loading.normalise import Normalise
from isoclock.data.packing.packed import PackedSplit, Pixels

_ENDLESS = 1 << 40
_AHEAD = 2
_DYING_S = 4.0  # how long a loader process that has hung up is waited for


def sample_at(seed: int, number: int, count: int, order: int = ORDER) -> int:
    """The sample that comes as `number` of an endless sequence of shuffles of `count` samples."""
    return int(_shuffled(seed, number // count, count, order)[number % count])


class TrainingStream:
    """An iterable of batches, to be iterated once.

    A batch holds images (B, 3, h, w) uint8 in channels-last memory, target (B, h, w) uint8 with 255 where void, index
    (B,) int64 of the samples in the split, and labelled (B,) bool. These are bytes, a fifth of what they become: the device
    that trains makes numbers of them. The last `unlabelled_per_batch` of a batch are of the split `unlabelled`, in shuffles of
    their own: their index goes on behind the split's, their target is 255.

    `iterations` None never ends. `workers` 0 loads in this process; more are processes that ignore SIGINT and SIGTERM,
    because the training process decides when a run stops; `close` ends them early. `wait_s` is the time spent waiting for
    batches so far, `loader_core_s` the processor time that went into those received. Raises ParamsError for a colour list
    that cannot be built.
    """

    def __init__(
        self,
        split: PackedSplit,
        *,
        seed: int,
        batch: int,
        crop: tuple[int, int],
        scale: tuple[float, float],
        flip: float,
        colour: Sequence[Mapping[str, Any]],
        unlabelled: PackedSplit | None = None,
        unlabelled_per_batch: int = 0,
        start_iteration: int = 0,
        iterations: int | None = None,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.wait_s = 0.0
        self.loader_core_s = 0.0
        parts = [(split, batch - unlabelled_per_batch, ORDER)]
        if unlabelled is not None:
            parts.append((unlabelled, unlabelled_per_batch, UNLABELLED_ORDER))
        self._batches = _Batches(parts, seed, crop, scale, flip, build_colour(colour))
        end = _ENDLESS if iterations is None else start_iteration + iterations
        self._numbers = range(start_iteration, end)
        self._workers, self._pin_memory = workers, pin_memory
        self._source: Iterator[dict[str, Any]] | None = None
        self._loaders: set[BaseProcess] = set()

    def __iter__(self) -> TrainingStream:
        if self._source is None:
            self._source = self._open()
        return self

    def __next__(self) -> dict[str, Tensor]:
        self.__iter__()
        assert self._source is not None
        asked = time.perf_counter()
        try:
            made = next(self._source)
        except (ConnectionError, EOFError, FileNotFoundError) as error:
            if (dead := _dead_one(self._loaders)) is not None:
                raise dead from error
            raise
        self.wait_s += time.perf_counter() - asked
        self.loader_core_s += float(made.pop("core_s"))
        return made

    def close(self) -> None:
        """End the loader processes. The stream has no more batches then."""
        # DataLoader ends its workers when its iterator is collected.
        self._source = iter(())

    def _open(self) -> Iterator[dict[str, Any]]:
        bilinear.compiled()
        if self._workers == 0:
            # Crops are too small for OpenCV's pool of threads, which would fight with torch's.
            cv2.setNumThreads(1)
            return (self._batches[number] for number in self._numbers)
        loader = DataLoader(
            self._batches,
            batch_size=None,
            sampler=_Numbers(self._numbers),
            num_workers=self._workers,
            prefetch_factor=_AHEAD,
            pin_memory=self._pin_memory,
            worker_init_fn=_start_worker,
            # Its own generator: the loader would draw from the global one, and dropout would depend on `workers`.
            generator=torch.Generator(),
        )
        before = set(multiprocessing.active_children())
        source = iter(loader)
        self._loaders = set(multiprocessing.active_children()) - before
        atexit.register(_end, self._loaders)
        return source


def whole_images(
    split: PackedSplit, *, colour: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Tensor, NDArray[np.uint8], str]]:
    """Every image of a split, normalised as in training: image (1, 3, H, W) float32, label (H, W) uint8, name."""
    normalise = Normalise.last_of(colour)
    for i, name in enumerate(split.names):
        # Copies: torch warns of arrays that cannot be written.
        pixels = torch.from_numpy(split.image(i).copy()).permute(2, 0, 1)[None]
        yield normalise(pixels), split.label(i).copy(), name


class _Batches(Dataset[dict[str, Any]]):
    """Batch `number` of a run, made whole by one worker."""

    def __init__(
        self,
        parts: Sequence[tuple[PackedSplit, int, int]],  # split, images a batch, order
        seed: int,
        crop: tuple[int, int],
        scale: tuple[float, float],
        flip: float,
        colour: Colour,
    ) -> None:
        self.parts, self.seed, self.crop = parts, seed, crop
        self.batch = sum(images for _, images, _ in parts)
        self.scale, self.flip, self.colour = scale, flip, colour
        self._memory = _Reused()

    def __getitem__(self, number: int) -> dict[str, Any]:
        before = time.process_time()
        images = self._memory.empty((self.batch, *self.crop, 3), np.uint8)
        target = self._memory.empty((self.batch, *self.crop), np.uint8)
        index = np.empty(self.batch, np.int64)
        labelled = np.empty(self.batch, np.bool_)
        for k, (split, i, before_it) in enumerate(self._drawn(number)):
            self._sample(split, i, number * self.batch + k, images[k], target[k])
            index[k], labelled[k] = before_it + i, split.labelled[i]
        target[~labelled] = IGNORE
        made = {
            "images": torch.from_numpy(images).permute(0, 3, 1, 2),
            "target": torch.from_numpy(target),
            "index": torch.from_numpy(index),
            "labelled": torch.from_numpy(labelled),
        }
        if get_worker_info() is not None:
            # It has to be done to hand them over. Here a full /dev/shm is an error that reaches the training process; in
            # the thread that hands them over it would be a line in the log, and a batch that is waited for without end.
            for tensor in made.values():
                tensor.share_memory_()
        return {**made, "core_s": time.process_time() - before}

    def _drawn(self, number: int) -> Iterator[tuple[PackedSplit, int, int]]:
        """The samples of a batch: split, position in it, and how many samples the splits before it have."""
        before_it = 0
        for split, images, order in self.parts:
            for k in range(images):
                yield split, sample_at(self.seed, number * images + k, len(split), order), before_it
            before_it += len(split)

    def _sample(self, split: PackedSplit, i: int, at: int, image: Pixels, label: Pixels) -> None:
        random = generator(self.seed, GEOMETRY, at)
        geometry = draw_geometry(random, split.sizes[i], self.crop, self.scale, self.flip)
        crop_sample(split, i, geometry, self.crop, self.colour.fill, out=(image, label))
        coloured = self.colour.augment(image, self.seed, at)
        if coloured is not image:
            image[:] = coloured


class _Reused:
    """Arrays whose memory comes back when nobody looks at it any more, the tensors made of them included.

    A batch of large crops is too large for the allocator to keep: it would be given back, asked for again and filled with
    zeros by the kernel every time, which takes as long as making the batch.
    """

    def __init__(self) -> None:
        self._free: dict[tuple[Any, ...], list[NDArray[Any]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_free": {}}

    def empty(self, shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
        """As `np.empty`."""
        free = self._free.setdefault((shape, kind), [])
        whole = free.pop() if free else np.empty(shape, kind)
        lent = whole.view()
        weakref.finalize(lent, free.append, whole).atexit = False
        return lent


class _Numbers(torch.utils.data.Sampler[int]):
    """A range as a sampler without a length: an endless one is longer than what `len` may tell."""

    def __init__(self, numbers: range) -> None:
        self._numbers = numbers

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)


@lru_cache(maxsize=4)
def _shuffled(seed: int, epoch: int, count: int, order: int) -> NDArray[np.int64]:
    return generator(seed, order, epoch).permutation(count)


def _dead_one(loaders: set[BaseProcess]) -> RuntimeError | None:
    """What torch would say of a dead loader process; None where all of them live on.

    A process that is killed closes its sockets first and is dead some milliseconds later. A batch that is fetched in between
    ends in an error of that connection, which does not tell why. Waiting for the end, torch's own handler may raise.
    """
    hung_up = wait([process.sentinel for process in loaders], _DYING_S)
    dead = [process for process in loaders if process.sentinel in hung_up]
    for process in dead:
        process.join()
    told = ", ".join(f"{process.pid}" for process in dead)
    return RuntimeError(f"DataLoader worker (pid(s) {told}) exited unexpectedly") if dead else None


def _end(loaders: set[BaseProcess]) -> None:
    """End what is left of a stream's processes when this one ends.

    After an error they are still there, and multiprocessing, which comes next, would ask them by SIGTERM and wait for ever.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's own handler raises when a loader is killed
    for process in loaders:
        process.kill()


def _start_worker(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A worker is one core: OpenCV's pool of threads would fight with the training process, and does not survive a fork.
    cv2.setNumThreads(0)
