"""The first figure of the page: the mIoU of every method at every budget, with what it shows of each when pointed at.

It is drawn by the page itself, from rows of text and small SVGs, so that it keeps its letters' size on a narrow screen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from isoclock.report import format
from isoclock.report.collect import FINISHED
from isoclock.report.summary import Summary, budget_size, budget_steps, size_order

_MARGIN = 0.06
_TICKS = 5


def main_figure(summaries: Sequence[Summary], row_ids: Mapping[str, str]) -> dict[str, Any] | None:
    """The figure of one pair: one panel per budget size, one row per method. None if nothing is scored.

    Places are percentages of the axis. `row_ids` has the id of the table row of each cell, by the cell's path.
    """
    scored = [value for s in summaries for value in s.scores.values()]
    if not scored:
        return None
    low, high = _ends(scored, summaries[0].first.teacher_miou)

    def place(value: float) -> float:
        return round(min(100.0, max(0.0, 100 * (value - low) / (high - low))), 2)

    panels = []
    for size in sorted({_size(s) for s in summaries}, key=size_order):
        mine = [s for s in summaries if _size(s) == size]
        steps = budget_steps(s for s in mine if s.first.protocol == "compute")
        rows = []
        for method in dict.fromkeys(s.first.method for s in mine):
            of_method = [s for s in mine if s.first.method == method]
            rows.append(
                {
                    "method": method,
                    "implementation": of_method[0].first.implementation or "",
                    "marks": list(dict.fromkeys(mark for s in of_method for mark in s.marks)),
                    "points": [_point(s, place, row_ids) for s in of_method],
                }
            )
        title = f"budget {size}" + (f": {steps:,.0f} anchor-steps at equal compute" if steps else "")
        panels.append({"title": title, "rows": rows})
    teacher = summaries[0].first.teacher_miou
    near = teacher is not None and low <= teacher <= high
    return {
        "panels": panels,
        "ticks": [(place(value), f"{100 * value:g}") for value in _ticks(low, high)],
        "teacher": None if teacher is None else {"text": format.percent(teacher), "at": place(teacher), "near": near},
        "protocols": sorted({s.first.protocol for s in summaries}, reverse=True),
        "implementation_choices": _implementations(summaries),
        "several_seeds": any(len(s.rows) > 1 for s in summaries),
    }


def _point(s: Summary, place: Any, row_ids: Mapping[str, str]) -> dict[str, Any]:
    first, n = s.first, f"{s.count(FINISHED)} of {len(s.rows)}"
    text = s.hole if s.miou.mean is None else format.points(s.miou)
    lines = [
        f"{first.method}, {first.budget}",
        f"mIoU {text}" + ("" if s.miou.mean is None else " %"),
        f"cost ratio {format.ratio(first.cost_ratio, first.cost_low, first.cost_high)}",
        f"n {n} seeds",
        f"marks: {', '.join(s.marks) or 'none'}",
    ]
    return {
        "protocol": first.protocol,
        "text": text,
        "hole": s.miou.mean is None,
        "at": None if s.miou.mean is None else place(s.miou.mean),
        "interval": None if s.miou.low is None or s.miou.high is None else (place(s.miou.low), place(s.miou.high)),
        "tip": "\n".join(lines),
        "cells": " ".join(row_ids[row.path] for row in s.rows if row.path in row_ids),
        "seeds": [
            {
                "at": place(row.miou),
                "tip": f"{row.path}\nmIoU {format.percent(row.miou)} %\n" + "\n".join(lines[2:3] + lines[4:]),
                "cells": row_ids.get(row.path, ""),
            }
            for row in s.rows
            if row.status == FINISHED and row.miou is not None and len(s.rows) > 1
        ],
    }


def _implementations(summaries: Sequence[Summary]) -> list[tuple[str, str]]:
    """(value, text) of each choice; empty if all methods have the same implementation."""
    found = sorted({s.first.implementation for s in summaries if s.first.implementation})
    return [("all", "all"), *((name, name) for name in found)] if len(found) > 1 else []


def _size(s: Summary) -> str:
    return budget_size(s.first.budget, s.first.protocol)


def _ends(scored: Sequence[float], teacher: float | None) -> tuple[float, float]:
    """Ends of the axis: all seeds, and the teacher if it is near. An interval over two seeds may be wider; it is cut."""
    low, high = min(scored), max(scored)
    spread = max(high - low, 0.005)
    if teacher is not None and high < teacher < high + 0.6 * spread:
        high = teacher
    margin = _MARGIN * max(high - low, 0.01)
    return max(0.0, low - margin), min(1.0, high + margin)


def _ticks(low: float, high: float) -> list[float]:
    """Round values between the ends, in steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / _TICKS
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [round(number * step, 8) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
