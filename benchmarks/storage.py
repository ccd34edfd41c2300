"""Cost of `storage: jpeg`: a training crop from a split packed raw, and from one packed as JPEG.

Scale and crop only, in processor time; also the bytes that JPEG saves and the change of pixels. Scenes are generated, and
noisier than photographs, which take fewer bytes and change less (docs/data.md).
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from measure import Result, in_turns, pairwise, show

from isoclock.data.loading.augment import GEOMETRY, crop_sample, draw_geometry, generator
from isoclock.data.packing.packed import PackedSplit
from isoclock.data.packing.prepare import prepare
from isoclock.data.readers.cityscapes import READER
from isoclock.data.streets.make import make_streets


def measure(
    rounds: int = 9,
    crops: int = 8,
    images: int = 4,
    size: tuple[int, int] = (1024, 2048),
    crop: tuple[int, int] = (512, 1024),
) -> Result:
    """Measure `crops` crops from each, interleaved."""
    cv2.setNumThreads(1)
    with TemporaryDirectory() as name:
        raw = Path(name) / "scenes"
        make_streets(raw, train=images, val=1, size=size)
        prepare(READER, raw, Path(name) / "raw", splits={"train": "train"})
        prepare(READER, raw, Path(name) / "jpeg", splits={"train": "train"}, storage="jpeg")
        ways = {way: PackedSplit(Path(name) / way, "train") for way in ("raw", "jpeg")}

        def core_s(way: str) -> float:
            started = time.process_time()
            for number in range(crops):
                split, i = ways[way], number % images
                geometry = draw_geometry(generator(0, GEOMETRY, number), split.sizes[i], crop, (0.5, 2.0), 0.5)
                crop_sample(split, i, geometry, crop, (124, 116, 104))
            return (time.process_time() - started) / crops

        for way in ways:
            core_s(way)
        found = in_turns(rounds, raw=lambda: core_s("raw"), jpeg=lambda: core_s("jpeg"))
        stored = {
            way: sum(path.stat().st_size for path in split.folder.glob("*.images.*")) for way, split in ways.items()
        }
        change = [np.abs(ways["raw"].image(i).astype(int) - ways["jpeg"].image(i)) for i in range(images)]
    return Result(
        "storage",
        "core seconds a training crop",
        {"a crop, raw": found["raw"], "a crop, jpeg": found["jpeg"]},
        {"jpeg / raw": pairwise(found["jpeg"], found["raw"])},
        (),
        {
            "size": list(size),
            "crop": list(crop),
            "image_bytes": stored,
            "pixel_change": {
                "mean": float(np.mean([one.mean() for one in change])),
                "p99": float(np.percentile(np.concatenate([one.ravel() for one in change]), 99)),
                "most": int(max(one.max() for one in change)),
            },
        },
    )


if __name__ == "__main__":
    show([measure()])
