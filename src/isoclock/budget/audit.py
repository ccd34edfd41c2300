"""Time spent against time planned, cell by cell. Deviations are marked everywhere the cell is used; nothing is dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.records.record import Checkpoints, Segment, StudentRecord
from isoclock.records.results import Results
from isoclock.statistics.estimate import t_interval

TOLERANCE = 0.03  # PROTOCOL.md, rule 6
MIXED_HARDWARE = "mixed-hardware"
OFF_BUDGET = "off-budget"


@dataclass(frozen=True)
class AuditRow:
    """One trained cell. None is "unknown": a segment of the run has no measured anchor.

    `deviation` is spent over planned anchor-steps minus 1. `contention` is an anchor step's time in the run over that in the
    profile: 1.0 means equally fast. `deviation_error` is half of the 95 % interval of the deviation, from the spread of the
    anchor steps that the run measured; None with fewer than two. `cost_ratio` is the plan's.
    `checkpoints` is what saving took, off the train clock.
    """

    cell: Cell
    protocol_version: int
    planned_s: float
    spent_s: float
    planned_anchor_steps: float
    spent_anchor_steps: float | None
    deviation: float | None
    deviation_error: float | None
    cost_ratio: float
    contention: float | None
    lost_s: float
    checkpoints: Checkpoints
    device_kind: str
    marks: tuple[str, ...]


def audit(cells: Sequence[Cell], layout: Layout) -> list[AuditRow]:
    """A row for each cell that has a published record, in the order given. Raises ArtifactError for damaged records."""
    results = Results(layout)
    rows = [audit_record(record) for cell in cells if (record := results.record(cell)) is not None]
    results.check()
    return rows


def audit_record(record: StudentRecord) -> AuditRow:
    """Compare a student's record with its plan.

    Spent anchor-steps are the train time of each segment over the anchor time measured in it, so that a slower node does not
    count as more work. Marks: those of the plan, `diverged`, `off-budget` (outside 3 %), `mixed-hardware` (device kinds, CPU
    threads or versions of torch, CUDA or cuDNN) and `lost-time`.
    """
    plan, spent_steps, anchor_s = record.plan, record.spent_anchor_steps, record.anchor_s
    deviation = None if spent_steps is None else spent_steps / plan.anchor_steps - 1
    kinds = {segment.device_kind for segment in record.segments} | {plan.device_kind}
    marks = list(plan.marks)
    if record.status == "diverged":
        marks.append("diverged")
    elif deviation is not None and abs(deviation) > TOLERANCE:
        marks.append(OFF_BUDGET)
    if len(kinds) > 1 or _differ(record.segments):
        marks.append(MIXED_HARDWARE)
    if record.clock.lost_s > 0:
        marks.append("lost-time")
    return AuditRow(
        cell=record.cell,
        protocol_version=record.protocol_version,
        planned_s=plan.planned_s,
        spent_s=record.clock.train_s,
        planned_anchor_steps=plan.anchor_steps,
        spent_anchor_steps=spent_steps,
        deviation=deviation,
        deviation_error=None if deviation is None else _error(record.segments, 1 + deviation),
        cost_ratio=plan.cost_ratio,
        contention=None if anchor_s is None else anchor_s / plan.anchor_s,
        lost_s=record.clock.lost_s,
        checkpoints=record.checkpoints,
        device_kind="; ".join(sorted(kinds)),
        marks=tuple(marks),
    )


def _error(segments: Iterable[Segment], spent_over_planned: float) -> float | None:
    """How far the deviation may be off, because an anchor-step was not equally fast throughout the run."""
    ratios = [seconds / segment.anchor_s for segment in segments if segment.anchor_s for _, seconds in segment.anchors]
    half = t_interval(ratios).half_width
    return None if half is None else half * spent_over_planned


def _differ(segments: Iterable[Segment]) -> bool:
    return len({(one.threads, one.torch, one.cuda, one.cudnn) for one in segments}) > 1
