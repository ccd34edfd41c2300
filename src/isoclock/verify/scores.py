"""Scores, recomputed from the confusion matrix of every image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoclock.files import read_arrays
from isoclock.grid.layout import ScoreFiles
from isoclock.records.scores import ScoreDocument
from isoclock.scoring.confusion import iou
from isoclock.scoring.metrics import measure


def score_problems(files: ScoreFiles, found: ScoreDocument, classes: Sequence[str], made_by: str) -> Iterator[str]:
    """What differs between scores.json and confusion.npz, one line each; `classes` are the names of its rows, in order.

    Raises ArtifactError for a damaged file.
    """
    total, per_image, names = read_arrays(files.confusion, "total", "per_image", "names", made_by=made_by)
    if not np.array_equal(per_image.sum(axis=0, dtype=np.int64), total):
        yield f"{files.confusion}: the matrices of its images do not add up to the total; score it again (isoclock {made_by})"
    if len(names) != len(per_image) or len(names) != found.images:
        yield (
            f"{files.confusion}: has {len(per_image)} images with {len(names)} names, and {files.scores} {found.images}; score it "
            f"again (isoclock {made_by})"
        )
    if found.status == "diverged":
        return  # it has no scores, even if its outputs are finite
    for where, value, expected in _compared(found, total, classes):
        if not _same(value, expected):
            yield f"{files.scores}: {where}: {value}: {expected} by {files.confusion.name}; score it again (isoclock {made_by})"


def _compared(
    found: ScoreDocument, total: NDArray[Any], classes: Sequence[str]
) -> Iterator[tuple[str, float | None, float | None]]:
    recomputed: Mapping[str, float | None] = measure(total)
    yield "miou", found.miou, recomputed["miou"]
    for name, value in found.metrics.items():
        if name in recomputed:  # the file of a metric may be gone
            yield f"metrics.{name}", value, recomputed[name]
    by_class = [None if np.isnan(value) else float(value) for value in iou(total)]
    for name, expected in zip(classes, by_class, strict=True):
        yield f"per_class_iou.{name}", found.per_class_iou.get(name), expected


def _same(value: float | None, expected: float | None) -> bool:
    return value == expected or (
        value is not None and expected is not None and math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-12)
    )
