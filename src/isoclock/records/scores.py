"""scores.json: what an evaluation of the last weights found."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from isoclock.params.schema import Scoring
from isoclock.records.document import Measured
from isoclock.records.parts import Number, StudentCell
from isoclock.schema import Count, Share


class ScoreDocument(Measured):
    """`scores.json` of a student or teacher, written by `isoclock evaluate`. Shares and IoUs lie in 0..1.

    Metrics, IoUs and `miou` are None for a diverged network, and the IoU of a class that is nowhere is None.
    """

    schema_: Literal[2] = Field(alias="schema")
    cell: StudentCell | None  # None for a teacher
    dataset: str
    split: str
    status: Literal["finished", "diverged"]
    iterations: Number
    images: Count
    scoring: Scoring
    weights: str  # SHA-256 of the weights that were scored
    miou: Share | None
    metrics: dict[str, Share | None]  # further metrics over all images, by name
    per_class_iou: dict[str, Share | None]
