"""Break-even tables for the page, as markdown and as CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from isoclock.report import format
from isoclock.report.break_even import TIE_MARGIN, BreakEven, BreakEvenRow, Point
from isoclock.report.curve import Bounds
from isoclock.report.tables import csv_text, markdown_table

READ_IT = (
    "x is how many times cheaper an iteration of the method has to become to tie canonical KD: the anchor-steps that the method "
    "used, divided by those after which the curve of canonical KD reaches the same mIoU. At 1 or less it ties or wins already."
)
NOTE = (
    "There are two limits. A cost to tie below 1 is out of reach, because no iteration costs less than its student step. A cost to "
    "tie below that of canonical KD needs more than zero overhead over KD, as iteration-matched runs show. Between measured points "
    "the curve is linear in log anchor-steps; ≥ and ≤ are bounds beyond the measured range of canonical KD; where a longer run "
    "scored less, neighbours are pooled. Each seed is compared with the curve of the same seed. From three seeds on, if no seed "
    "has only a bound, x has a 95 % t interval (of its logarithm). A tie is reported only if that interval is below "
    f"{TIE_MARGIN:g}. In brackets: seeds with the same verdict as the mean. Anchor-steps are the planned ones; the measurement "
    "error of the cost is not part of x."
)
CURVE_TITLES = ("budget", "marks", "n", "iterations", "anchor-steps", "mIoU %", "mIoU % on the curve")
ROW_TITLES = (
    "method", "budget", "what it would take", "x", "x [95 %] or of each seed", "cost", "cost to tie", "anchor-steps",
    "canonical KD's", "mIoU %", "n", "marks",
)  # fmt: skip
CURVE_WORDS, ROW_WORDS = 2, 3
"""Number of leading columns with text, which are left-aligned."""

_CSV_NAMES = (
    "protocol_version",
    "dataset", "pair", "yardstick", "method", "budget", "seed", "n", "n_planned", "miou", "iterations", "anchor_steps", "cost",
    "kd_cost", "kd_steps_low", "kd_steps_high", "times_cheaper_low", "times_cheaper_high", "cost_to_tie_low", "cost_to_tie_high",
    "verdict", "marks",
)  # fmt: skip


def bounds_text(value: Bounds | None, digits: int = 2) -> str:
    """A number, or a bound with ≥ or ≤."""
    if value is None:
        return format.NOTHING
    sign = "" if value.known is not None else "≥ " if math.isinf(value.high) else "≤ "
    return f"{sign}{value.low or value.high:,.{digits}f}"


def curve_cells(found: BreakEven) -> list[list[str]]:
    """The points of canonical KD, including holes, as texts for the columns CURVE_TITLES."""
    on_curve = dict(zip(found.curve.steps, found.curve.mious, strict=True)) if found.curve else {}
    return [
        [
            ", ".join(point.budgets), ", ".join(point.marks), _n(point), format.count(point.iterations),
            format.count(point.anchor_steps), format.percent(point.miou, 2),
            format.percent(on_curve.get(point.anchor_steps or 0) if point.miou is not None else None, 2),
        ]
        for point in found.kd
    ]  # fmt: skip


def row_cells(found: BreakEven, row: BreakEvenRow) -> list[str]:
    """A row as texts for the columns ROW_TITLES."""
    point, needed = row.point, row.needed
    return [
        point.method,
        ", ".join(point.budgets),
        _what_it_takes(found, row),
        bounds_text(needed.times_cheaper if needed else None),
        _each_seed(row),
        format.ratio(point.cost),
        bounds_text(needed.cost_to_tie if needed else None),
        format.count(point.anchor_steps),
        bounds_text(needed.kd_steps if needed else None, 0),
        format.percent(point.miou, 2),
        _n(point),
        ", ".join(point.marks),
    ]


def break_even_markdown(every: Sequence[BreakEven]) -> str:
    """The curve and rows of every pair as markdown."""
    parts = [READ_IT, ""]
    for found in every:
        parts.append(f"## {found.dataset} / {found.pair}\n")
        if found.why_not:
            parts.append(f"No break-even: {found.why_not}.\n")
        if found.kd:
            parts.append(f"### {curve_title(found)}\n")
            parts.append(markdown_table(CURVE_TITLES, curve_cells(found), _words(CURVE_TITLES, CURVE_WORDS)))
        if found.rows:
            parts.append("### What the others would need\n")
            rows = [row_cells(found, row) for row in found.rows]
            parts.append(markdown_table(ROW_TITLES, rows, [*_words(ROW_TITLES, ROW_WORDS)[:-1], True]))
    return "\n".join([*parts, NOTE, ""])


def break_even_csv(every: Sequence[BreakEven]) -> str:
    """A line per method and budget, and one per seed (`seed` is empty for the mean). Plain numbers; an open bound is empty."""
    lines = [line for found in every for row in found.rows for line in _csv_lines(found, row)]
    return csv_text(lines, list(_CSV_NAMES))


def curve_title(found: BreakEven) -> str:
    """The title of the table of canonical KD."""
    cost = f", {found.kd_cost:.2f} anchor-steps per iteration" if found.kd_cost else ""
    return f"Canonical KD: {found.yardstick}{cost}"


def _what_it_takes(found: BreakEven, row: BreakEvenRow) -> str:
    """The verdict of the mean, and how many seeds have the same verdict."""
    if row.needed is None:
        return row.why_not
    verdict = found.verdict(row, row.needed)
    if len(row.by_seed) < 2:
        return f"{verdict} ({'one seed' if row.by_seed else 'no seed in common'})"
    alike = sum(found.verdict(row, needed) == verdict for _, needed in row.by_seed)
    return f"{verdict} ({alike} of {len(row.by_seed)} seeds)"


def _each_seed(row: BreakEvenRow) -> str:
    """The interval of x; without one, x of every seed in increasing order; nothing for one seed, which has no spread."""
    if (interval := row.interval) is not None:
        return f"[{interval[0]:.2f}, {interval[1]:.2f}]"
    ratios = sorted((needed.times_cheaper for _, needed in row.by_seed), key=lambda ratio: (ratio.low, ratio.high))
    return ", ".join(map(bounds_text, ratios)) if len(ratios) > 1 else format.NOTHING


def _n(point: Point) -> str:
    return f"{len(point.scores)} of {point.seeds}"


def _words(titles: Sequence[str], count: int) -> list[bool]:
    return [place < count for place in range(len(titles))]


def _csv_lines(found: BreakEven, row: BreakEvenRow) -> list[dict[str, Any]]:
    point = row.point
    same = {
        "protocol_version": point.protocol_version,
        "dataset": found.dataset, "pair": found.pair, "yardstick": found.yardstick, "method": point.method,
        "budget": "; ".join(point.budgets), "n": len(point.scores), "n_planned": point.seeds, "miou": point.miou,
        "iterations": point.iterations, "anchor_steps": point.anchor_steps, "cost": point.cost, "kd_cost": found.kd_cost,
        "verdict": row.why_not, "marks": "; ".join(point.marks),
    }  # fmt: skip
    if row.needed is None:
        return [same]
    lines = []
    for seed, needed in [(None, row.needed), *row.by_seed]:
        line = same | {"seed": seed, "miou": point.miou if seed is None else point.scores[seed]}
        line |= {"verdict": found.verdict(row, needed)}
        for name in ("kd_steps", "times_cheaper", "cost_to_tie"):
            value: Bounds = getattr(needed, name)
            line[f"{name}_low"] = value.low or None
            line[f"{name}_high"] = None if math.isinf(value.high) else value.high
        lines.append(line)
    return lines
