"""Types and parts that several documents have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from isoclock.grid.cells import Cell
from isoclock.records.document import Part
from isoclock.schema import MAX_INT, Count, NonNegative

Number = Annotated[int, Field(ge=0, le=MAX_INT, strict=True)]
Protocol = Literal["iteration", "compute"]


def _seed_is_not_negative(cell: Cell) -> Cell:
    if cell.seed < 0:
        raise ValueError(f"seed: must be at least 0, not {cell.seed}")
    return cell


StudentCell = Annotated[Cell, AfterValidator(_seed_is_not_negative)]


class TeacherCell(Part):
    """Which teacher a record is of."""

    dataset: str
    model: str
    seed: Number


class Images(Part):
    """How many images of a data set are trained on, with labels and without."""

    labelled: Count
    unlabelled: Number


class Epochs(Part):
    """How often each image is seen in a run, on average, with labels and without."""

    labelled: NonNegative
    unlabelled: NonNegative


def is_none(value: object) -> bool:
    """Whether a key is left out of the file."""
    return value is None
