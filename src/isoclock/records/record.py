"""record.json: a published training run, with its segments, clock, checkpoints, digests and hardware."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from isoclock.records.document import Measured, Part
from isoclock.records.parts import Epochs, Number, StudentCell, TeacherCell, is_none
from isoclock.records.plan import Plan
from isoclock.records.run import RunDigests, RunParams
from isoclock.schema import Count, NonNegative, Positive, Share, Unix


class RecordDigests(RunDigests):
    """SHA-256 of what a run depends on, and of the weights that it made. `start_weights`: of the file that it started from."""

    weights: str
    start_weights: str | None = Field(None, exclude_if=is_none)


class Iterations(Part):
    """Iterations that a run trains for, and those that it did; none of a teacher that is imported."""

    planned: Number
    done: Number


class ClockTimes(Part):
    """Seconds of a whole run. `lost_s` is train time of killed segments after their last checkpoint."""

    train_s: NonNegative
    evaluate_s: NonNegative
    io_s: NonNegative
    startup_s: NonNegative
    lost_s: NonNegative


class Segment(Part):
    """One process of a run. `anchors` holds (train time, seconds of an anchor step) pairs, measured in it."""

    started_unix: Unix
    device_kind: str
    threads: Count
    torch: str
    cuda: str | None  # versions that torch used; None on a CPU
    cudnn: str | None
    startup_s: NonNegative
    first_iteration: Number
    iterations: Number
    train_s: NonNegative
    anchors: list[tuple[NonNegative, Positive]]
    anchor_steps: NonNegative | None  # None: not measured
    anchor_s: Positive | None
    ended: Literal["finished", "diverged", "stopped", "killed"]
    not_compiled: list[str]  # parts that `compile` of the recipe could not compile


class Best(Part):
    """The best validation of a run."""

    iteration: Number
    miou: Share


class Checkpoints(Part):
    """What saving took, off the train clock."""

    count: Number
    seconds_each: NonNegative
    bytes: Number
    every_s: Positive  # train time between two
    share_of_train: NonNegative | None


class Hardware(Part):
    """What a run computed on."""

    device: str
    device_kind: str
    threads: Count
    cpu_cores: Count | None


class Record(Measured):
    """`record.json` of a published run. Use `StudentRecord` or `TeacherRecord`."""

    schema_: Literal[2] = Field(alias="schema")
    run_id: str = Field(min_length=1)
    params: RunParams
    started_unix: Unix
    ended_unix: Unix
    status: Literal["finished", "diverged"]
    message: str
    iterations: Iterations
    epochs: Epochs
    clock: ClockTimes
    segments: list[Segment] = Field(min_length=1)
    best: Best | None
    checkpoints: Checkpoints
    digests: RecordDigests
    environment: dict[str, str]
    hardware: Hardware

    @property
    def spent_anchor_steps(self) -> float | None:
        """Anchor-steps of the whole run, each segment by the anchor measured in it.

        None (unknown) if a segment that trained has no measured anchor: the sum over the others would be too small.
        """
        steps = [segment.anchor_steps for segment in self.segments if segment.train_s > 0]
        known = [value for value in steps if value is not None]
        return sum(known) if known and len(known) == len(steps) else None

    @property
    def anchor_s(self) -> float | None:
        """Seconds of an anchor step in this run, on average over its train time. None where `spent_anchor_steps` is None."""
        if self.spent_anchor_steps is None:
            return None
        return sum((segment.anchor_s or 0.0) * segment.train_s for segment in self.segments) / self.clock.train_s


class StudentRecord(Record):
    """A student's record.json. `trained_as` names the cell that was trained, if this one is a copy of its result."""

    MADE_BY: ClassVar[str] = "student {0.cell.path}"

    kind: Literal["student"]
    cell: StudentCell
    plan: Plan
    trained_as: str | None = Field(None, exclude_if=is_none)

    @property
    def implementation(self) -> str | None:
        """Which implementation of the method was trained: reference or tuned."""
        return self.params.get("method", {}).get("implementation")


class Imported(Part):
    """The checkpoint that a teacher is a copy of, and what was not used of it."""

    path: str
    format: str
    sha256: str
    source: str
    licence: str
    classes: list[str]  # of its outputs, in its order
    unused: list[str]  # its tensors that the network does not have


class TeacherRecord(Record):
    """A teacher's record.json. `imported` says what a teacher is made from that was not trained here."""

    MADE_BY: ClassVar[str] = "teacher {0.cell.dataset} {0.cell.model}"

    kind: Literal["teacher"]
    cell: TeacherCell
    plan: None
    imported: Imported | None = Field(None, exclude_if=is_none)
