"""One cell of a grid as a flat row: what was planned, spent and scored, and what a reader must know of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from isoclock.budget.audit import MIXED_HARDWARE, AuditRow, audit_record
from isoclock.grid.cells import Cell
from isoclock.protocol import VERSION
from isoclock.records.plan import Plan
from isoclock.records.record import StudentRecord
from isoclock.records.results import Results, scores_problem
from isoclock.records.scores import ScoreDocument

FINISHED, DIVERGED, MISSING = "finished", "diverged", "missing"


@dataclass(frozen=True)
class CellRow:
    """One cell. Seconds and anchor-steps are of training alone; IoUs and metrics lie in 0..1; None means unknown, never 0."""

    dataset: str
    pair: str
    method: str
    budget: str
    seed: int
    status: str
    message: str = ""
    protocol: str = ""
    protocol_version: int = VERSION  # of the whole table; a cell of another version is a hole in it
    yardstick: str | None = None
    implementation: str | None = None
    weights: str = ""  # where its weights come from: published, assumed, ours or tuned, and a factor
    tuning_s: float | None = None  # of the sweep that chose the weights, once for all seeds and budgets
    tuning_anchor_steps: float | None = None
    device_kind: str | None = None
    iterations_planned: int | None = None
    iterations_done: int | None = None
    unlabelled_per_batch: int | None = None
    epochs_labelled: float | None = None
    epochs_unlabelled: float | None = None
    planned_s: float | None = None
    spent_s: float | None = None
    planned_anchor_steps: float | None = None
    spent_anchor_steps: float | None = None
    lost_s: float | None = None
    evaluate_s: float | None = None
    cost_ratio: float | None = None
    cost_low: float | None = None
    cost_high: float | None = None
    peak_mib: float | None = None
    miou: float | None = None
    pixel_accuracy: float | None = None
    teacher_miou: float | None = None
    marks: tuple[str, ...] = ()
    metrics: dict[str, float | None] = field(default_factory=dict)  # all but mIoU, by name
    per_class_iou: dict[str, float | None] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The cell's folder below `student/` and `evaluate/`."""
        return Cell(self.dataset, self.pair, self.method, self.budget, self.seed).path

    def tidy(self) -> dict[str, Any]:
        """The row for cells.csv: flat, marks joined, per-class IoU and metrics left to their own tables."""
        flat = asdict(self)
        del flat["per_class_iou"], flat["metrics"]
        return flat | {"marks": "; ".join(self.marks)}


def read_row(results: Results, cell: Cell, version: int, teacher_miou: float | None, protocol: str) -> CellRow:
    """The row of a cell in a table of protocol `version`; a hole where its record, scores or plan are of another version.

    `protocol` is that of the cell's budget, for a cell without a plan.
    """
    trained = results.record(cell)
    record = trained if trained is not None and trained.protocol_version == version else None
    audited = None if record is None else audit_record(record)
    plan = record.plan if record is not None else _plan_on_disk(results, cell, version)
    marks = (
        (f"protocol version {trained.protocol_version}",)
        if trained is not None and record is None
        else _marks(results, plan, record, audited)
    )
    return CellRow(
        **cell.as_dict(),
        **_outcome(cell, trained, results.scores(cell), audited, version),
        **_planned(plan, protocol),
        **_trained(record, audited),
        **_cost(results, cell, plan, record, version),
        protocol_version=version,
        teacher_miou=teacher_miou,
        marks=marks,
    )


def _plan_on_disk(results: Results, cell: Cell, version: int) -> Plan | None:
    plan = results.plan(cell)
    return plan if plan is not None and plan.protocol_version == version else None


def _outcome(
    cell: Cell, record: StudentRecord | None, scores: ScoreDocument | None, audited: AuditRow | None, version: int
) -> dict[str, Any]:
    """Status and scores. Scores that are not this run's are a hole as well."""
    if record is None:
        message = f"not trained: no student/{cell.path}/record.json; run `isoclock student {cell.path}`"
        return {"status": MISSING, "message": message}
    if record.protocol_version != version:
        message = (
            f"trained under version {record.protocol_version} of the protocol, and this table is of version {version}; train "
            f"it again: `isoclock student {cell.path}`"
        )
        return {"status": MISSING, "message": message}
    if audited is not None and MIXED_HARDWARE in audited.marks:
        message = f"trained in parts on different hardware; remove runs/student/{cell.path} and train it again"
        return {"status": MISSING, "message": message}
    if record.status == DIVERGED:
        return {"status": DIVERGED, "message": record.message or "the loss is not finite"}
    problem = scores_problem(record, scores)
    if scores is None or problem is not None:
        return {"status": MISSING, "message": f"{problem}; run `isoclock evaluate {cell.path}`"}
    if scores.status == DIVERGED:
        return {"status": DIVERGED, "message": "the network's outputs are not finite"}
    return {
        "status": record.status,
        "message": record.message,
        "miou": scores.miou,
        "pixel_accuracy": scores.metrics.get("pixel_accuracy"),
        "metrics": scores.metrics,
        "per_class_iou": scores.per_class_iou,
    }


def _planned(plan: Plan | None, protocol: str) -> dict[str, Any]:
    """What was planned, as the run itself had it; the plan on disk counts only for cells that are not trained."""
    if plan is None:
        return {"protocol": protocol}
    return {
        "protocol": plan.protocol,
        "yardstick": plan.yardstick,
        "iterations_planned": plan.iterations,
        "planned_s": plan.planned_s,
        "planned_anchor_steps": plan.anchor_steps,
    }


def _trained(record: StudentRecord | None, audited: AuditRow | None) -> dict[str, Any]:
    if record is None or audited is None:
        return {}
    return {
        "iterations_done": record.iterations.done,
        "unlabelled_per_batch": record.params["recipe"].get("unlabelled_per_batch", 0),
        "epochs_labelled": record.epochs.labelled,
        "epochs_unlabelled": record.epochs.unlabelled,
        "spent_s": audited.spent_s,
        "spent_anchor_steps": audited.spent_anchor_steps,
        "lost_s": record.clock.lost_s,
        "evaluate_s": record.clock.evaluate_s,
        "device_kind": record.hardware.device_kind,
    }


def _cost(
    results: Results, cell: Cell, plan: Plan | None, record: StudentRecord | None, version: int
) -> dict[str, Any]:
    """The cost that the cell was planned with. The profile adds to it only if it is the one that the plan was made from."""
    profile = (
        results.planned_profile(plan) if plan is not None else results.profile(cell.dataset, cell.pair, cell.method)
    )
    found: dict[str, Any] = {}
    if profile is not None and profile.protocol_version == version:
        found = {
            "implementation": profile.implementation,
            "cost_ratio": profile.cost.ratio,
            "cost_low": profile.cost.low,
            "cost_high": profile.cost.high,
            "peak_mib": profile.peak_mib,
        }
    if plan is not None:
        found["cost_ratio"] = plan.cost_ratio
    if record is not None:
        found["implementation"] = record.implementation
    return found


def _marks(
    results: Results, plan: Plan | None, record: StudentRecord | None, audited: AuditRow | None
) -> tuple[str, ...]:
    """Everything a reader must know before using the cell's numbers, once each."""
    marks: list[str] = []
    if plan is not None and (profile := results.planned_profile(plan)) is not None:
        marks += profile.marks
    marks += audited.marks if audited is not None else plan.marks if plan is not None else ()
    if record is not None and record.status == FINISHED and record.iterations.done != record.iterations.planned:
        marks.append("short of plan")
    return tuple(dict.fromkeys(mark for mark in marks if mark != DIVERGED))  # the status says so already
