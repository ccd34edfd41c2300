"""Cost of a training sample per core: from a packed split, and with common loaders.

Samples are scaled, cropped, flipped and normalised. isoclock makes batches, the others end at the tensors of a sample. Its
workers transfer uint8 data, which the training process normalises: `packed` is both on one core, `packed, bytes` the part of
a worker. Times are processor time, except the stream of worker processes, which is wall time including the transfer.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from measure import Goal, Result, in_turns, pairwise, show
from numpy.typing import NDArray

from isoclock.data.loading.normalise import Normalise, filled
from isoclock.data.loading.stream import TrainingStream
from isoclock.data.packing.packed import PackedSplit
from isoclock.data.packing.prepare import prepare
from isoclock.data.readers.cityscapes import READER
from isoclock.data.streets.make import make_streets

SCALE, FLIP, BATCH = (0.5, 2.0), 0.5, 8
COLOUR = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
FED = 8
"""Number of workers for which the benchmark extrapolates the throughput."""

Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def measure(
    rounds: int = 9,
    batches: int = 2,
    images: int = 4,
    size: tuple[int, int] = (1024, 2048),
    crop: tuple[int, int] = (512, 1024),
) -> Result:
    """Measure `batches` batches of eight with each loader, interleaved."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    workers = min(os.cpu_count() or 1, FED)
    with TemporaryDirectory() as name:
        raw, out = Path(name) / "raw", Path(name) / "packed"
        make_streets(raw, train=images, val=1, size=size)
        prepare(READER, raw, out, splits={"train": "train"}, dataset="streets")
        paths = _compressed(raw)
        arrays = [_decoded(*pair) for pair in paths]
        streams = [_stream(PackedSplit(out, "train"), crop, count) for count in (0, workers)]
        numbers = _numbers()
        ways: dict[str, Callable[[], Any]] = {
            "packed": lambda: numbers(next(streams[0])),
            "bytes": lambda: next(streams[0]),
            "png": _times(BATCH, _by_albumentations(crop), cycle(paths), _decoded),
            "arrays": _times(BATCH, _by_albumentations(crop), cycle(arrays)),
            "torchvision": _times(BATCH, _by_torchvision(size, crop), cycle(arrays)),
        }

        def spent_s(way: Callable[[], Any], clock: Callable[[], float], made: int) -> float:
            started = clock()
            for _ in range(made):
                way()
            return (clock() - started) / (made * BATCH)

        for way in ways.values():
            way()
        found = in_turns(
            rounds, **{name: _late(spent_s, way, time.process_time, batches) for name, way in ways.items()}
        )
        # Separately, because it uses every core; batches that were prefetched before it started are used up first.
        ahead = 2 * workers
        spent_s(lambda: next(streams[1]), time.perf_counter, ahead)
        fed = [spent_s(lambda: next(streams[1]), time.perf_counter, ahead) for _ in range(rounds)]
        streams[1].close()
    times = {
        "packed": found["packed"],
        "packed, bytes": found["bytes"],
        "PNG + albumentations": found["png"],
        "decoded + albumentations": found["arrays"],
        "decoded + torchvision v2": found["torchvision"],
        f"packed, {workers} workers, wall": fed,
    }
    ratios = {f"packed / {name}": pairwise(found["packed"], samples) for name, samples in list(times.items())[2:5]}
    one, many = 1 / statistics.median(found["packed"]), 1 / statistics.median(fed)
    each = many / workers
    return Result(
        "data",
        "seconds a training sample: processor time, and wall time with worker processes",
        times,
        ratios,
        (Goal("packed / PNG + albumentations", 1 / 20), Goal("packed / decoded + albumentations", 1 / 4)),
        {
            "size": list(size),
            "crop": list(crop),
            "batch": BATCH,
            "scale": list(SCALE),
            "flip": FLIP,
            "workers": workers,
        },
        (
            f"A core makes {one:.0f} samples/s; {workers} workers feed {many:.0f} samples/s, {each:.0f} each.",
            f"So {FED} workers on separate cores feed {FED * each:.0f} samples/s: at batch {BATCH} a GPU of up to"
            f" {FED * each / BATCH:.0f} steps/s does not wait.",
        ),
    )


def _stream(split: PackedSplit, crop: tuple[int, int], workers: int) -> TrainingStream:
    colour = [{"transform": "Normalize", **COLOUR}]
    return TrainingStream(split, seed=0, batch=BATCH, crop=crop, scale=SCALE, flip=FLIP, colour=colour, workers=workers)


def _numbers() -> Callable[[Mapping[str, torch.Tensor]], Any]:
    """The first thing that a training step does with a batch."""
    normalise = Normalise.last_of([{"transform": "Normalize", **COLOUR}])
    images: torch.Tensor | None = None
    target: torch.Tensor | None = None

    def numbers(batch: Mapping[str, torch.Tensor]) -> Any:
        nonlocal images, target
        images = normalise(batch["images"], out=images)
        target = filled(target, batch["target"], torch.int64)
        return images, target

    return numbers


def _compressed(raw: Path) -> list[tuple[Path, Path]]:
    """Compress the generated files, which are stored uncompressed, as in real data sets."""
    found = []
    for sample in READER.pairs(raw, "train"):
        assert sample.label_path is not None
        for path in (sample.image_path, sample.label_path):
            cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
        found.append((sample.image_path, sample.label_path))
    return found


def _decoded(image: Path, label: Path) -> Arrays:
    pixels = cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2RGB)
    return np.asarray(pixels, np.uint8), READER.label_table[cv2.imread(str(label), cv2.IMREAD_UNCHANGED)]


def _by_albumentations(crop: tuple[int, int]) -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], Any]:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A

    transform = A.Compose(
        [
            A.RandomScale(scale_limit=(SCALE[0] - 1, SCALE[1] - 1), p=1.0),
            A.PadIfNeeded(*crop, fill_mask=255),
            A.RandomCrop(*crop),
            A.HorizontalFlip(p=FLIP),
            A.Normalize(**COLOUR),
        ]
    )

    def sample(image: NDArray[np.uint8], label: NDArray[np.uint8]) -> Any:
        made = transform(image=image, mask=label)
        pixels = torch.from_numpy(np.ascontiguousarray(made["image"])).permute(2, 0, 1)
        return pixels, torch.from_numpy(np.ascontiguousarray(made["mask"])).long()

    return sample


def _by_torchvision(
    size: tuple[int, int], crop: tuple[int, int]
) -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], Any]:
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    shorter = min(size)
    transform = v2.Compose(
        [
            v2.RandomResize(round(shorter * SCALE[0]), round(shorter * SCALE[1]), antialias=False),
            v2.RandomCrop(crop, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: 255}),
            v2.RandomHorizontalFlip(FLIP),
            v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
            v2.Normalize(COLOUR["mean"], COLOUR["std"]),
        ]
    )

    def sample(image: NDArray[np.uint8], label: NDArray[np.uint8]) -> Any:
        pixels = torch.from_numpy(image).permute(2, 0, 1)
        return transform(tv_tensors.Image(pixels), tv_tensors.Mask(torch.from_numpy(label)))

    return sample


def _times(
    count: int, sample: Callable[..., Any], sources: Any, opened: Callable[..., Arrays] = lambda *arrays: arrays
) -> Callable[[], list[Any]]:
    return lambda: [sample(*opened(*next(sources))) for _ in range(count)]


def _late(measured: Callable[..., float], *arguments: Any) -> Callable[[], float]:
    return lambda: measured(*arguments)


if __name__ == "__main__":
    show([measure()])
