"""Tables as the page shows them: marks are badges next to the name in the first column, not a column of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from isoclock.budget.audit import TOLERANCE, AuditRow
from isoclock.budget.audit_methods import MethodAudit
from isoclock.report import format
from isoclock.report.audit_table import METHOD_TITLES, deviation_text, method_texts
from isoclock.report.collect import FINISHED, CellRow, Study, Teacher
from isoclock.report.summary import Summary
from isoclock.report.tables import columns
from isoclock.training.kind import short_kinds

MARKS = "marks"
_FIRST = ("method", "budget", "mIoU %", "% of teacher", "n", "cost ratio [95 %]")
"""Columns of the comparison that a reader needs first; the others follow in their order."""
_LEFT_OUT = ("protocol", MARKS)
"""The name of a budget includes its protocol."""
_LOSSES = {"fp32": "losses in float32", "autocast": "losses under autocast"}
_COST_TITLES = (
    "method", "implementation", "cost ratio [95 %]", "ms per step", "teacher %", "loss %", "GFLOPs", "peak MiB", "J per step",
    "device", MARKS,
)  # fmt: skip
_AUDIT_TITLES = (
    "cell", "deviation", "planned", "spent", "planned anchor-steps", "spent anchor-steps", "contention", "lost", "device", MARKS,
)  # fmt: skip
_NUMBER = re.compile(r"[-+≥≤<]?\s*\d|–$")
_CELL_TITLES = ("cell", "status", "mIoU %", "cost ratio", "time spent", "links", MARKS)


def page_table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], caption: str, words: int = 1, kind: str = ""
) -> dict[str, Any]:
    """A table of texts for the template. A column called "marks" becomes badges.

    The first `words` columns, and others in which no text begins like a number or is a dash, are aligned left.
    """
    rows = list(rows)
    place = titles.index(MARKS) if MARKS in titles else None

    def without(values: Sequence[Any]) -> list[Any]:
        return [value for number, value in enumerate(values) if number != place]

    numbers = [column >= words and any(_NUMBER.match(row[column]) for row in rows) for column in range(len(titles))]
    shown = list(zip(without(titles), without(numbers), strict=True))
    made = [
        {
            "cells": [{"text": text, "sort": None} for text in without(row)],
            "marks": [mark for mark in row[place].split(", ") if mark] if place is not None else [],
            "kind": "",
        }
        for row in rows
    ]
    return {"titles": shown, "rows": made, "caption": caption, "kind": kind}


def comparison_table(summaries: Sequence[Summary], caption: str) -> dict[str, Any]:
    """One row per method and budget."""
    found = {column.title: column for column in columns(summaries) if column.title not in _LEFT_OUT}
    shown = [found[title] for title in (*(t for t in _FIRST if t in found), *(t for t in found if t not in _FIRST))]
    shown = [column for column in shown if any(column.text(s) != format.NOTHING for s in summaries)]
    rows = []
    for s in summaries:
        values = [(column.text(s), column.value(s)) for column in shown]
        rows.append(
            {
                "cells": [{"text": text, "sort": "" if value is None else value} for text, value in values],
                "marks": s.marks,
                "kind": f"{s.first.protocol} impl-{s.first.implementation or 'any'}",
            }
        )
    titles = [(column.title, not column.words) for column in shown]
    return {"titles": titles, "rows": rows, "caption": caption, "kind": "comparison"}


def cost_table(study: Study, dataset: str, pair: str, devices: Mapping[str, str]) -> dict[str, Any]:
    """What an iteration of each method costs."""
    rows = [row for method in study.methods(dataset, pair) for row in _cost_rows(study, dataset, pair, method, devices)]
    caption = (
        "Cost of a training iteration, from the profiles. Cost ratio: anchor-steps per iteration, median and 95 % bootstrap "
        "interval. Teacher and loss: their share of the step’s time. GFLOPs: of one step. Peak MiB: highest memory of a step."
    )
    return page_table(_COST_TITLES, rows, caption, 2)


def device_names(study: Study) -> dict[str, str]:
    """How columns name what cells were profiled and trained on; provenance has the whole kinds."""
    found = [profile.device_kind for profile in study.profiles.values()] + [row.device_kind for row in study.audit]
    short = short_kinds({kind for kinds in found for kind in kinds.split("; ")})
    return {kinds: "; ".join(short[kind] for kind in kinds.split("; ")) for kinds in found}


def _cost_rows(study: Study, dataset: str, pair: str, method: str, devices: Mapping[str, str]) -> list[list[str]]:
    """What a method costs, and below it its cost with losses in the other precision, where that was measured."""
    profile = study.profiles.get((dataset, pair, method))
    if profile is None:
        return [[method, "no profile", *[format.NOTHING] * 8, ""]]
    cost, other, device = profile.cost, profile.sensitivity, devices[profile.device_kind]
    row = [
        method,
        profile.implementation,
        format.ratio(cost.ratio, cost.low, cost.high),
        f"{1000 * profile.step_s.median:.1f}",
        format.percent(profile.shares.teacher, 0),
        format.percent(profile.shares.loss, 0),
        f"{profile.gflops.total:.1f}",
        format.count(profile.peak_mib),
        format.NOTHING if profile.energy_j is None else f"{profile.energy_j:.2f}",
        device,
        ", ".join(profile.marks),
    ]
    if other is None:
        return [row]
    label = f"{method}, {_LOSSES[other.loss_precision]}"
    ratio = format.ratio(other.ratio, other.low, other.high)
    return [row, [label, profile.implementation, ratio, *[format.NOTHING] * 6, device, ""]]


def throttled(study: Study, dataset: str, pair: str) -> str:
    """One line: the methods of a pair during whose profile the GPU lowered its clock, and why; empty if there is none."""
    found = []
    for method in study.methods(dataset, pair):
        profile = study.profiles.get((dataset, pair, method))
        if profile is not None and profile.gpu is not None and profile.gpu.throttled:
            found.append(f"{method} ({profile.gpu.reasons})")
    return "; ".join(found)


def class_tables(summaries: Sequence[Summary], teacher: Teacher | None) -> list[dict[str, Any]]:
    """One table per budget: rows are classes, columns methods, values means over finished seeds."""
    tables = []
    for budget in dict.fromkeys(s.first.budget for s in summaries):
        shown: list[tuple[str, dict[str, float | None]]] = (
            [("teacher", teacher.scores.per_class_iou)] if teacher else []
        )
        for s in summaries:
            finished = [row.per_class_iou for row in s.rows if row.status == FINISHED]
            if s.first.budget == budget and finished:
                shown.append(
                    (s.first.method, {name: _mean(scores[name] for scores in finished) for name in finished[0]})
                )
        if len(shown) <= bool(teacher):
            continue
        rows = [
            {"cells": [{"text": name, "sort": None}, *(_shaded(scores.get(name)) for _, scores in shown)], "marks": ()}
            for name in list(shown[-1][1])
        ]
        titles = [("class", False), *((title, True) for title, _ in shown)]
        caption = f"IoU of each class at {budget}, %, mean over the finished seeds. A darker cell is a higher value."
        tables.append({"budget": budget, "titles": titles, "rows": rows, "caption": caption, "kind": "classes"})
    return tables


def audit_table(rows: Sequence[AuditRow], devices: Mapping[str, str]) -> dict[str, Any]:
    """Time planned and spent of every cell with a record."""
    caption = (
        "Train time of each cell, planned and spent. Contention: how much slower an anchor-step was than in the profile. "
        "Lost: repeated after a killed segment."
    )
    table = page_table(_AUDIT_TITLES, [_audited(row, devices) for row in rows], caption, kind="audit")
    for shown, row in zip(table["rows"], rows, strict=True):
        shown["kind"] = "outside" if outside_plan(row) else ""
    return table


def method_audit_table(rows: Sequence[MethodAudit]) -> dict[str, Any]:
    """The audit by method."""
    caption = (
        "All cells of a method together: their mean deviation, and the cost of an iteration that it implies. other-cost: "
        "that cost is outside the profile's interval, and the profile's cost is outside its own, so the plans of this method were "
        "wrong by more than chance."
    )
    names = [" / ".join(row.key[:2]) for row in rows]
    texts = [[name, *method_texts(row)] for name, row in zip(names, rows, strict=True)]
    return page_table(("data set / pair", *METHOD_TITLES), texts, caption, 2, "audit-methods")


def outside_plan(row: AuditRow) -> bool:
    """Whether a cell deviates from its plan by more than the tolerance."""
    return row.deviation is not None and abs(row.deviation) > TOLERANCE


def cell_table(
    rows: Sequence[CellRow], row_ids: Mapping[str, str], links: Mapping[str, list[tuple[str, str]]]
) -> dict[str, Any]:
    """Every cell of the grid, with links to what is known of it."""
    caption = (
        "Every cell of the grid: data set / pair / method / budget / seed, with its folder and its page in MLflow."
    )
    texts = [
        [
            row.path, row.status, format.percent(row.miou, 2), format.ratio(row.cost_ratio), format.seconds(row.spent_s), "",
            ", ".join(row.marks),
        ]
        for row in rows
    ]  # fmt: skip
    table = page_table(_CELL_TITLES, texts, caption, 2, "cells")
    for shown, row in zip(table["rows"], rows, strict=True):
        shown |= {"id": row_ids[row.path], "kind": "" if row.status == FINISHED else "hole"}
        shown["cells"][-1]["links"] = links.get(row.path, [])
    return table


def _audited(row: AuditRow, devices: Mapping[str, str]) -> list[str]:
    return [
        row.cell.path,
        deviation_text(row) if row.deviation is not None else format.NOTHING,
        format.seconds(row.planned_s),
        format.seconds(row.spent_s),
        format.count(row.planned_anchor_steps),
        format.count(row.spent_anchor_steps),
        format.ratio(row.contention),
        format.seconds(row.lost_s),
        devices[row.device_kind],
        ", ".join(row.marks),
    ]


def _shaded(value: float | None) -> dict[str, Any]:
    return {
        "text": format.percent(value),
        "shade": 0 if value is None else round(70 * value),
        "sort": "" if value is None else value,
    }


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
