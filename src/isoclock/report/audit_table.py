"""The table that `isoclock audit` prints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from isoclock.budget.audit import AuditRow
from isoclock.budget.audit_methods import MethodAudit
from isoclock.progress import table_console
from isoclock.report.format import both, count, ratio, saving, seconds, signed_percent, version_note

WHOLE = ("cell", "planned / spent", "anchor-steps", "deviation", "contention", "lost")


def print_audit(rows: Sequence[AuditRow], cells: int, methods: Sequence[MethodAudit] = ()) -> None:
    """Print time planned and spent, cell by cell and by method; `cells` is how many the grid has, so that holes are seen."""
    console = table_console()
    console.print(f"Audit: {len(rows)} of {cells} cells have a run record")
    # What many cells share is printed once, above their table: the column would be too narrow for a device's name.
    # One table has cells of one version of the protocol.
    for (version, of, device), group in groupby(sorted(rows, key=lambda row: row.protocol_version), _shared):
        title = f"{of} on {device}" + (f". {note}" if (note := version_note(version)) else "")
        columns = [Column(name, no_wrap=True) for name in WHOLE]
        table = Table(*columns, "saving / every", "marks", title=title, box=SIMPLE_HEAD)
        for row in group:
            table.add_row(*_figures(row))
        console.print(table)
    _print_methods(methods)


METHOD_TITLES = ("method", "cells", "deviation [95 %]", "cost in the profile [95 %]", "cost implied [95 %]", "marks")


def method_texts(row: MethodAudit) -> list[str]:
    """The texts of a method's audit, one per title of METHOD_TITLES."""
    return [
        row.key[-1],
        str(row.deviation.n),
        signed_percent(row.deviation),
        ratio(row.cost_ratio, row.low, row.high),
        ratio(row.implied.mean, row.implied.low, row.implied.high),
        row.mark,
    ]


def deviation_text(row: AuditRow) -> str:
    """The deviation of a cell with its error, in per cent."""
    if row.deviation is None:
        return "-"
    error = "" if row.deviation_error is None else f" ± {100 * row.deviation_error:.1f}"
    return f"{100 * row.deviation:+.1f}{error} %"


def _print_methods(methods: Sequence[MethodAudit]) -> None:
    """Print the audit by method, one table for each pair."""
    for (dataset, pair), group in groupby(methods, lambda row: row.key[:2]):
        table = Table(*METHOD_TITLES, title=f"{dataset}/{pair}, by method", box=SIMPLE_HEAD)
        for row in group:
            table.add_row(*(text or "-" for text in method_texts(row)))
        table_console().print(table)


def _shared(row: AuditRow) -> tuple[int, str, str]:
    return row.protocol_version, f"{row.cell.dataset}/{row.cell.pair}", row.device_kind


def _figures(row: AuditRow) -> tuple[str, ...]:
    cell, contention = row.cell, row.contention
    return (
        f"{cell.method}/{cell.budget}/{cell.seed}",
        both(seconds(row.planned_s), seconds(row.spent_s)),
        both(count(row.planned_anchor_steps), count(row.spent_anchor_steps)),
        deviation_text(row),
        "-" if contention is None else f"x {contention:.2f}",
        seconds(row.lost_s),
        saving(row.checkpoints),
        ", ".join(row.marks) or "-",
    )
