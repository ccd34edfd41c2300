"""Counting an image's pixels by truth and prediction: `cityscapesscripts` (without its Cython part) and isoclock.

Both use the same files. cityscapesscripts reads truth and prediction; isoclock has the truth packed and the prediction in
memory, as in an evaluation. To separate decoding from counting, counting is also measured alone, and isoclock with files.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from measure import Goal, Result, in_turns, pairwise, show
from numpy.typing import NDArray
from PIL import Image

from isoclock.data.packing.packed import PackedSplit
from isoclock.data.packing.prepare import prepare
from isoclock.data.readers.cityscapes import READER
from isoclock.data.streets.make import make_streets
from isoclock.scoring.confusion import confusion_matrix, reference_confusion_matrix

CLASSES = READER.num_classes
IDS = np.array([raw for raw, train in READER.raw_to_train.items() if train < CLASSES], np.uint8)
OPTIONS = SimpleNamespace(evalLabels=[], evalInstLevelScore=False, evalPixelAccuracy=False)


def measure(rounds: int = 15, images: int = 4, size: tuple[int, int] = (1024, 2048)) -> Result:
    """Measure every image once per variant, interleaved; the matrices are compared first."""
    cv2.setNumThreads(1)
    with patch.object(sys, "argv", ["evaluation"]):  # it reads the command line on import
        from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
    with TemporaryDirectory() as name:
        folder = Path(name)
        make_streets(folder / "raw", train=1, val=images, size=size)
        prepare(READER, folder / "raw", folder / "packed", splits={"val": "val"}, dataset="streets")
        split = PackedSplit(folder / "packed", "val")
        predictions = [_prediction(split.label(i), i) for i in range(images)]
        files = []
        for sample, predicted in zip(READER.pairs(folder / "raw", "val"), predictions, strict=True):
            pair = folder / f"{sample.name}_pred.png", folder / f"{sample.name}_labelIds.png"
            Image.fromarray(IDS[predicted]).save(pair[0])
            Image.fromarray(np.asarray(Image.open(str(sample.label_path)))).save(pair[1])
            files.append(tuple(str(path) for path in pair))
        raw = [tuple(np.array(Image.open(path)) for path in pair) for pair in files]
        matrix = official.generateMatrix(OPTIONS)

        def theirs(i: int) -> Any:
            official.evaluatePair(*files[i], matrix, {}, {}, OPTIONS)

        def ours(i: int) -> NDArray[np.int64]:
            return confusion_matrix(split.label(i), predictions[i], CLASSES)

        def plain(i: int) -> NDArray[np.int64]:
            return reference_confusion_matrix(split.label(i), predictions[i], CLASSES)

        def from_files(i: int) -> NDArray[np.int64]:
            maps = (READER.label_table[cv2.imread(path, cv2.IMREAD_UNCHANGED)] for path in reversed(files[i]))
            return confusion_matrix(*maps, CLASSES)

        def their_counting(i: int) -> Any:
            """What cityscapesscripts does between decoding and adding to the matrix."""
            predicted, truth = raw[i]
            encoding = max(truth.max(), predicted.max()).astype(np.int32) + 1
            return np.unique(truth.astype(np.int32) * encoding + predicted, return_counts=True)

        ways: dict[str, Callable[[int], Any]] = {
            "theirs": theirs, "their_counting": their_counting, "ours": ours, "plain": plain, "files": from_files
        }  # fmt: skip
        for i in range(images):
            theirs(i)
        total = sum((ours(i) for i in range(images)), np.zeros((CLASSES, CLASSES), np.int64))
        if not np.array_equal(total, matrix[np.ix_(IDS, IDS)]):
            raise RuntimeError("isoclock and cityscapesscripts count differently: there is nothing to time")
        turn = cycle(range(images))

        def timed(way: Callable[[int], Any]) -> float:
            i, started = next(turn), time.perf_counter()
            way(i)
            return time.perf_counter() - started

        for way in ways.values():
            timed(way)
        found = in_turns(rounds, **{name: (lambda way=way: timed(way)) for name, way in ways.items()})  # type: ignore[misc]
    goal = 1 / 20
    return Result(
        "scoring",
        "seconds to count an image: its matrix, and the total it is added to",
        {
            "cityscapesscripts, from PNG": found["theirs"],
            "cityscapesscripts, counting alone": found["their_counting"],
            "isoclock": found["ours"],
            "isoclock, reference": found["plain"],
            "isoclock, from PNG": found["files"],
        },
        {
            "isoclock / cityscapesscripts": pairwise(found["ours"], found["theirs"]),
            "counting / counting": pairwise(found["ours"], found["their_counting"]),
            "from PNG / from PNG": pairwise(found["files"], found["theirs"]),
        },
        (Goal("isoclock / cityscapesscripts", goal), Goal("counting / counting", goal)),
        {"size": list(size), "classes": CLASSES, "cython_part_of_cityscapesscripts": bool(official.CSUPPORT)},
    )


def _prediction(truth: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """A prediction like that of a trained network: slightly shifted edges, and patches of other classes."""
    draws = np.random.default_rng(seed)
    height, width = truth.shape
    moved = np.roll(truth, (2, 5), (0, 1))
    moved[moved >= CLASSES] = 0
    coarse = max(1, height // 32), max(1, width // 32)
    where = cv2.resize(draws.random(coarse).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    other = draws.integers(0, CLASSES, coarse).astype(np.uint8)
    patches = cv2.resize(other, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.where(where > 0.85, patches, moved).astype(np.uint8)


if __name__ == "__main__":
    show([measure()])
