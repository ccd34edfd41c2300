"""What one evaluation found, and how it is written. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoclock.data.packing.packed import PackedSplit, read_index
from isoclock.files import written_atomically
from isoclock.grid.cells import Cell
from isoclock.grid.layout import ScoreFiles
from isoclock.params.schema import Scoring
from isoclock.records.document import build, write
from isoclock.records.scores import ScoreDocument
from isoclock.scoring.confusion import iou
from isoclock.scoring.metrics import measure
from isoclock.scoring.overlays import write_overlays
from isoclock.scoring.target import Target


@dataclass(frozen=True)
class Scores:
    """What one evaluation found.

    `total` (K, K) int64 and `per_image` (n, K, K) uint32 have rows = truth, columns = prediction. `predictions` holds
    the label maps that were asked for, uint8 (H, W), by image number. `nonfinite` counts images with a NaN or
    infinite logit: such a network has diverged and has no score. `scoring` is how the images were scored.
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
        return self.metrics["miou"]

    @property
    def metrics(self) -> dict[str, float | None]:
        """Every metric by name, 0..1; None for a diverged network."""
        return {name: None if self.nonfinite else value for name, value in measure(self.total).items()}

    def per_class_iou(self, classes: Sequence[str]) -> dict[str, float | None]:
        """IoU of each class, 0..1; None for a class that is nowhere, and for all of a diverged network.

        Raises ValueError if there are not as many names as classes.
        """
        if len(classes) != len(self.total):
            raise ValueError(f"{len(classes)} class names for {len(self.total)} classes")
        found = [None if self.nonfinite or np.isnan(value) else float(value) for value in iou(self.total)]
        return dict(zip(classes, found, strict=True))

    def document(
        self,
        *,
        classes: Sequence[str],
        dataset: str,
        weights: str,
        iterations: int,
        cell: Cell | None = None,
        diverged: bool = False,
        split: str = "val",
    ) -> ScoreDocument:
        """The content of scores.json; `weights` is their SHA-256, `cell` None for a teacher.

        A run that `diverged` has no scores, even if the outputs of its network are finite.
        """
        diverged = diverged or bool(self.nonfinite)
        metrics, per_class = self.metrics, self.per_class_iou(classes)
        if diverged:
            metrics, per_class = dict.fromkeys(metrics), dict.fromkeys(per_class)
        content = {
            "cell": None if cell is None else cell.as_dict(),
            "dataset": dataset,
            "split": split,
            "status": "diverged" if diverged else "finished",
            "iterations": iterations,
            "images": len(self.names),
            "scoring": self.scoring.model_dump(mode="json"),
            "weights": weights,
            "miou": metrics.pop("miou"),
            "metrics": metrics,
            "per_class_iou": per_class,
        }
        return build(ScoreDocument, content)

    def write_confusion(self, path: Path) -> None:
        """Write confusion.npz (`total`, `per_image`, `names`), atomically; equal scores are equal bytes."""
        with written_atomically(path) as temporary:
            np.savez_compressed(
                temporary, total=self.total, per_image=self.per_image, names=np.array(self.names, dtype=str)
            )


def write_scores(scores: Scores, target: Target) -> ScoreDocument:
    """Write overlays of the predictions that were kept, confusion.npz, and scores.json last: where there is a scores.json, the
    others are complete. Returns its content.
    """
    index, record, files = read_index(target.data), target.record(), ScoreFiles(target.scores)
    packed = PackedSplit(target.data, "val")
    pictures = (
        (scores.names[number], packed.image(number), packed.label(number), predicted)
        for number, predicted in sorted(scores.predictions.items())
    )
    write_overlays(files.overlays, pictures, index.palette)
    scores.write_confusion(files.confusion)
    document = scores.document(
        classes=index.classes,
        dataset=target.dataset,
        weights=record.digests.weights,
        iterations=record.iterations.done,
        cell=target.cell,
        diverged=record.status == "diverged",
    )
    write(files.scores, document)
    return document
