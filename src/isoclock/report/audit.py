"""The table that `isoclock audit` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from isoclock.grid import Cell
from isoclock.progress import table_console
from isoclock.report.wording import both, count, saving, seconds


def print_audit(rows: Sequence[dict[str, Any]], cells: int) -> None:
    """Time planned and spent, cell by cell; `cells` is how many the grid has, so that holes are seen."""
    table = Table(
        "cell", "time planned / spent", "anchor-steps planned / spent", "deviation", "contention", "lost",
        "checkpoints: each, every, of train time", "device", "marks",
        title=f"Audit: {len(rows)} of {cells} cells have a run record",
    )  # fmt: skip
    for row in rows:
        deviation, contention = row["deviation"], row["contention"]
        table.add_row(
            Cell(**row["cell"]).path,
            both(seconds(row["planned_s"]), seconds(row["spent_s"])),
            both(count(row["planned_anchor_steps"]), count(row["spent_anchor_steps"])),
            "-" if deviation is None else f"{100 * deviation:+.1f} %",
            "-" if contention is None else f"x {contention:.2f}",
            seconds(row["lost_s"]),
            saving(row["checkpoints"]),
            row["device_kind"],
            ", ".join(row["marks"]) or "-",
        )
    table_console().print(table)
