"""Time spent against time planned, cell by cell. Deviations are marked everywhere the cell is used; nothing is dropped."""

from __future__ import annotations

from typing import Any

from isoclock.files import read_json
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.records.protocol import KEY, version_of

TOLERANCE = 0.03  # PROTOCOL.md, rule 6


def audit(cells: list[Cell], layout: Layout) -> list[dict[str, Any]]:
    """A row for each cell that has a published run record, in the order given."""
    return [
        audit_record(read_json(path, made_by="student"))
        for cell in cells
        if (path := layout.student(cell) / "record.json").is_file()
    ]


def audit_record(record: dict[str, Any]) -> dict[str, Any]:
    """Compare a student's run record with its plan.

    Spent anchor-steps: the train time of each segment over the anchor time measured in it, so that a slower node is not
    counted as more work. `deviation` is spent over planned minus 1, in anchor-steps. Marks: `diverged`, `off-budget`
    (outside 3 %), `mixed-hardware` (device kinds, CPU threads or versions of torch), `lost-time`, and those of the plan.
    `checkpoints` is what saving took, as the record has it; it is off the train clock.
    """
    plan, segments = record["plan"], record["segments"]
    spent_s = record["clock"]["train_s"]
    kinds = {segment["device_kind"] for segment in segments} | {plan["device_kind"]}
    measured = [segment for segment in segments if segment["anchor_s"]]
    spent_steps = sum(segment["train_s"] / segment["anchor_s"] for segment in measured) if measured else None
    deviation = spent_steps / plan["anchor_steps"] - 1 if spent_steps is not None else None
    marks = list(plan["marks"])
    if record["status"] == "diverged":
        marks.append("diverged")
    elif deviation is not None and abs(deviation) > TOLERANCE:
        marks.append("off-budget")
    if len(kinds) > 1 or any(_differs(segments, key) for key in ("threads", "torch")):
        marks.append("mixed-hardware")
    if record["clock"]["lost_s"] > 0:
        marks.append("lost-time")
    return {
        "cell": record["cell"],
        KEY: version_of(record),
        "planned_s": plan["planned_s"],
        "spent_s": spent_s,
        "planned_anchor_steps": plan["anchor_steps"],
        "spent_anchor_steps": spent_steps,
        "deviation": deviation,
        "contention": _contention(measured, plan),
        "lost_s": record["clock"]["lost_s"],
        "checkpoints": record.get("checkpoints"),
        "device_kind": "; ".join(sorted(kinds)),
        "marks": marks,
    }


def _differs(segments: list[dict[str, Any]], key: str) -> bool:
    return len({segment[key] for segment in segments if key in segment}) > 1


def _contention(measured: list[dict[str, Any]], plan: dict[str, Any]) -> float | None:
    """How much slower an anchor step was in the run than in the profile: 1.0 means equally fast."""
    if not measured:
        return None
    total_s = sum(segment["train_s"] for segment in measured)
    mean = (
        sum(segment["anchor_s"] * segment["train_s"] for segment in measured) / total_s
        if total_s
        else measured[0]["anchor_s"]
    )
    return mean / plan["anchor_s"]
