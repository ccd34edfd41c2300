"""The table that `isoclock audit` prints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from isoclock.budget.audit import AuditRow
from isoclock.progress import table_console
from isoclock.report.format import both, count, saving, seconds, version_note

WHOLE = ("cell", "planned / spent", "anchor-steps", "deviation", "contention", "lost")


def print_audit(rows: Sequence[AuditRow], cells: int) -> None:
    """Print time planned and spent, cell by cell; `cells` is how many the grid has, so that holes are seen."""
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


def _shared(row: AuditRow) -> tuple[int, str, str]:
    return row.protocol_version, f"{row.cell.dataset}/{row.cell.pair}", row.device_kind


def _figures(row: AuditRow) -> tuple[str, ...]:
    cell, deviation, contention = row.cell, row.deviation, row.contention
    return (
        f"{cell.method}/{cell.budget}/{cell.seed}",
        both(seconds(row.planned_s), seconds(row.spent_s)),
        both(count(row.planned_anchor_steps), count(row.spent_anchor_steps)),
        "-" if deviation is None else f"{100 * deviation:+.1f} %",
        "-" if contention is None else f"x {contention:.2f}",
        seconds(row.lost_s),
        saving(row.checkpoints),
        ", ".join(row.marks) or "-",
    )
