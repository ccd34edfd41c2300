"""What one evaluation found, and how it is written. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoclock.data.packing.packed import PackedSplit, read_index
from isoclock.files import write_json, written_atomically
from isoclock.params.schema import Scoring
from isoclock.records.protocol import KEY, VERSION
from isoclock.scoring.confusion import iou, mean_iou, pixel_accuracy
from isoclock.scoring.overlays import write_overlays
from isoclock.scoring.target import Target


@dataclass(frozen=True)
class Scores:
    """What one evaluation found.

    `total` (K, K) int64 and `per_image` (n, K, K) uint32 have rows = truth, columns = prediction. `predictions` holds
    the label maps that were asked for, uint8 (H, W), by image number. `nonfinite` counts images with a NaN or
    infinite logit: such a network has diverged and has no score. `scoring` is how it was looked at.
    """

    total: NDArray[np.int64]
    per_image: NDArray[np.uint32]
    names: tuple[str, ...]
    evaluate_s: float
    nonfinite: int = 0
    predictions: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    scoring: Scoring = field(default_factory=Scoring)

    @property
    def miou(self) -> float | None:
        """Mean IoU, 0..1; None for a diverged network."""
        return None if self.nonfinite else mean_iou(self.total)

    def as_json(
        self,
        *,
        classes: Collection[str],
        dataset: str,
        weights: str | None,
        iterations: int,
        cell: dict[str, Any] | None = None,
        status: str = "finished",
        split: str = "val",
    ) -> dict[str, Any]:
        """The content of scores.json; `weights` is their SHA-256, `cell` None for a teacher."""
        if len(classes) != len(self.total):
            raise ValueError(f"{len(classes)} class names for {len(self.total)} classes")
        diverged = bool(self.nonfinite) or status == "diverged"
        return {
            "schema": 1,
            KEY: VERSION,
            "cell": cell,
            "dataset": dataset,
            "split": split,
            "status": "diverged" if diverged else status,
            "iterations": iterations,
            "images": len(self.names),
            "scoring": self.scoring.model_dump(mode="json"),
            "weights": weights,
            "miou": None if diverged else self.miou,
            "pixel_accuracy": None if diverged else pixel_accuracy(self.total),
            "per_class_iou": dict(zip(classes, self._class_scores(diverged), strict=True)),
        }

    def write_confusion(self, path: Path) -> None:
        """Write confusion.npz (`total`, `per_image`, `names`), atomically; equal scores are equal bytes."""
        with written_atomically(path) as temporary:
            np.savez_compressed(
                temporary, total=self.total, per_image=self.per_image, names=np.array(self.names, dtype=str)
            )

    def _class_scores(self, diverged: bool) -> list[float | None]:
        return [None if diverged or np.isnan(value) else float(value) for value in iou(self.total)]


def write_scores(scores: Scores, target: Target) -> None:
    """Write overlays of the predictions that were kept (students only), confusion.npz, and scores.json last: where there are
    scores, they are whole.
    """
    index, record = read_index(target.data), target.record()
    if target.cell is not None:
        packed = PackedSplit(target.data, "val")
        pictures = (
            (scores.names[number], packed.image(number), packed.label(number), predicted)
            for number, predicted in sorted(scores.predictions.items())
        )
        write_overlays(target.scores / "overlays", pictures, index["palette"])
    scores.write_confusion(target.scores / "confusion.npz")
    write_json(
        target.scores / "scores.json",
        scores.as_json(
            classes=index["classes"],
            dataset=target.dataset,
            weights=record["digests"]["weights"],
            iterations=record["iterations"]["done"],
            cell=None if target.cell is None else target.cell.as_dict(),
            status=record["status"],
        ),
    )
