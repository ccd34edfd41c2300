"""The table that `isoclock plan --dry` prints."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from isoclock.budget.forecast_rows import ARITHMETIC, STAGES, Forecast, ForecastRow
from isoclock.progress import table_console


def print_forecast(found: Forecast) -> None:
    """Jobs and hours, stage by stage and in all, and where the figures come from."""
    table = Table(title=f"Grid {found.grid}: what it takes", box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("stage")
    table.add_column("of", overflow="fold")
    for title in ("jobs", "made", "hours", "left", "GB"):
        table.add_column(title, justify="right")
    table.add_column("figures")
    sums = found.as_json()
    for stage in STAGES:
        rows = found.of(stage)
        for row in rows:
            table.add_row(stage, row.where, f"{row.jobs:,}", f"{row.made:,}", *_times(row), _gb(row.gb), row.basis)
        if len(rows) > 1:
            table.add_row(stage, "[bold]all[/]", *_summed(sums["stages"][stage]), "")
        table.add_section()
    table.add_row("[bold]total[/]", "", *_summed(sums["total"]), "")
    console = table_console()
    console.print(table)
    console.print(f"From FLOPs: at {found.tflops:.3g} TFLOP/s ({found.tflops_from}), products and convolutions only.")
    for note in found.notes:
        console.print(f"{note[0].upper()}{note[1:]}.")


def _times(row: ForecastRow) -> tuple[str, str]:
    return ("-", "-") if row.basis == ARITHMETIC else (_hours(row.hours), _hours(row.hours_left))


def _gb(gb: float | None) -> str:
    return "-" if gb == 0 else _hours(gb)


def _summed(sums: dict[str, Any]) -> tuple[str, ...]:
    at_least = "" if sums["complete"] else ">= "
    hours = [f"[bold]{at_least}{_hours(sums[key])}[/]" for key in ("hours", "hours_left")]
    gb = _gb(sums["gb"]) if sums["complete_gb"] else f">= {_hours(sums['gb'])}" if sums["gb"] else "?"
    return f"[bold]{sums['jobs']:,}[/]", f"[bold]{sums['made']:,}[/]", *hours, f"[bold]{gb}[/]"


def _hours(hours: float | None) -> str:
    if hours is None:
        return "?"
    if hours == 0:
        return "0"
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"
