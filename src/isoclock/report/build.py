"""The report of a grid as files, and its comparison in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from isoclock.files import write_text
from isoclock.grid.cells import Cell
from isoclock.grid.layout import REPORT_PAGE
from isoclock.params.schema import Published
from isoclock.report import format, tables
from isoclock.report.break_even import break_even
from isoclock.report.break_even_tables import break_even_csv, break_even_markdown
from isoclock.report.collect import collect
from isoclock.report.differences import differences
from isoclock.report.dvc_files import write_dvc_files
from isoclock.report.published import published_csv, published_markdown, published_rows
from isoclock.report.summary import summarise
from isoclock.report.weights import Weights


def build_report(
    results: Path,
    cells: Sequence[Cell],
    grid_name: str,
    out: Path,
    published: Sequence[Published] = (),
    protocols: Mapping[str, str] = MappingProxyType({}),
    weights: Mapping[tuple[str, str, str], Weights] = MappingProxyType({}),
    about: str = "",
    run_urls: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write the report of `cells` into `out` and return the page's path.

    `about` is what the grid says of itself; `run_urls` has the MLflow page of a cell by the cell's path.

    Makes cells.csv (tidy, one line a cell), comparison.md/.csv/.tex, published-rows.md/.csv (the students' share of the
    teacher and their size, with `published` rows of the same data sets below), dvc/ for `dvc metrics` and `dvc plots`,
    figures/*.svg/.pdf/.png and report.html, which needs no other file. Cells that are missing or diverged are shown as such.
    The same results give the same bytes.

    Raises ArtifactError for broken files under `results` (all at once), ValueError for an empty grid.
    """
    if not cells:
        raise ValueError("a report needs at least one cell")
    # Imported here: matplotlib and jinja2 take a second to import, and `print_table` does not need them.
    from isoclock.report.figures import draw_figures
    from isoclock.report.html import render_page

    study = collect(results, cells, protocols, weights)
    summaries = summarise(study.rows)
    found = differences(study, summaries)
    write_text(out / "cells.csv", tables.cells_csv(study.rows))
    write_text(out / "comparison.csv", tables.to_csv(summaries))
    write_text(
        out / "comparison.md", f"# Comparison: grid {grid_name}\n\n" + tables.to_markdown(study, summaries, found)
    )
    write_text(out / "comparison.tex", tables.to_latex(study, summaries))
    rows = {of: published_rows(study, summaries, published, *of) for of in study.pairs}
    note = f"{text}\n\n" if (text := format.version_note(study.version)) else ""
    title = f"# Published rows: grid {grid_name}\n\n{note}"
    write_text(out / "published-rows.md", title + published_markdown(rows))
    write_text(out / "published-rows.csv", published_csv(rows))
    even = {of: break_even(summaries, *of) for of in study.pairs}
    title = f"# Break-even: grid {grid_name}\n\n{note}"
    write_text(out / "break-even.md", title + break_even_markdown(list(even.values())))
    write_text(out / "break-even.csv", break_even_csv(list(even.values())))
    write_dvc_files(study, out / "dvc")
    (out / "figures").mkdir(parents=True, exist_ok=True)  # the workflow expects it, even without a figure
    figures = draw_figures(study, summaries, even, out / "figures")
    page = out / REPORT_PAGE
    links: dict[str, Any] = {"about": about, "folder": out, "run_urls": run_urls}
    write_text(page, render_page(study, summaries, found, figures, grid_name, rows, even, **links))
    return page


def print_table(results: Path, cells: Sequence[Cell], protocols: Mapping[str, str] = MappingProxyType({})) -> None:
    """Print the comparison of `cells` to the terminal. Raises ArtifactError for broken files under `results`."""
    study = collect(results, cells, protocols)
    tables.print_comparison(study, summarise(study.rows))
