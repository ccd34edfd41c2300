"""One self-contained HTML page: figures inline, overlays as data URIs, no network requests."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from isoclock import __version__
from isoclock.budget.audit import TOLERANCE
from isoclock.budget.audit_methods import audit_methods
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.report import break_even_tables, format, page_tables
from isoclock.report.break_even import BreakEven
from isoclock.report.collect import DIVERGED, FINISHED, MISSING, CellRow, Study
from isoclock.report.differences import MARGIN, Difference
from isoclock.report.figures import Drawing
from isoclock.report.main_figure import main_figure
from isoclock.report.metrics_table import metrics_table
from isoclock.report.overlays import overlay_blocks
from isoclock.report.page_tables import page_table
from isoclock.report.provenance import commits, provenance, trained_between
from isoclock.report.published import PUBLISHED_NOTE, PUBLISHED_TITLES, PublishedRow
from isoclock.report.style import FAINT, HOLE, INK, PAPER, RULE
from isoclock.report.summary import Summary
from isoclock.report.tables import DIFFERENCE_TITLES, DIFFERENCE_WORDS, FOOTNOTE, difference_cells
from isoclock.report.teacher_cost import NOTE as TEACHER_NOTE
from isoclock.report.teacher_cost import WORDS as TEACHER_WORDS
from isoclock.report.teacher_cost import teacher_cost
from isoclock.report.verdict import RULE as VERDICT_RULE
from isoclock.report.verdict import pair_verdict

_TEMPLATES = Path(__file__).parent / "templates"
_THEME = {PAPER: "var(--paper)", INK: "var(--ink)", FAINT: "var(--faint)", RULE: "var(--rule)", HOLE: "var(--bad)"}
_DRAWN_BY_THE_PAGE = ("matched", "scores")
"""Figures whose place the page's own first figure takes; they are in the figures folder."""
_DIFFERENCES = (
    "Differences in mIoU from the reference at the same budget, percentage points, over the seeds that both methods finished: t "
    "interval and test from the standard deviation of the table, which is pooled over all methods and budgets after the effects of "
    "method and seed. Both p are adjusted for the number of comparisons (Holm); none is given below three seeds. Within: two "
    f"one-sided tests with a margin of {100 * MARGIN:g} points. P(better): a run of the method scores above one of the reference. "
    "Detectable: the true difference that the test finds with probability 0.8. Over seeds and images: paired bootstrap; with few "
    "seeds its interval and p promise too much, and no claim rests on them."
)


def render_page(
    study: Study,
    summaries: Sequence[Summary],
    found: Sequence[Difference],
    figures: Sequence[Drawing],
    grid_name: str,
    published: Mapping[tuple[str, str], Sequence[PublishedRow]],
    even: Mapping[tuple[str, str], BreakEven],
    *,
    about: str = "",
    folder: Path | None = None,
    run_urls: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The report as HTML. Text from results is escaped; figures are inserted from their SVG files.

    `about` is the grid's own description. `folder` is where the page will be: if that is below the results, cells link to their
    folders. `run_urls` has the MLflow page of a cell by the cell's path.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    overlays, overlays_left_out = overlay_blocks(study)
    devices = page_tables.device_names(study)
    row_ids = {row.path: f"cell-{number}" for number, row in enumerate(study.rows)}
    links = {row.path: _links(study, row, folder, run_urls) for row in study.rows}
    return environment.get_template("report.html.j2").render(
        grid=grid_name,
        about=about,
        version=__version__,
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup((_TEMPLATES / "report.js").read_text(encoding="utf-8")),
        version_note=format.version_note(study.version),
        counts={status: sum(row.status == status for row in study.rows) for status in (FINISHED, DIVERGED, MISSING)},
        cells=page_tables.cell_table(study.rows, row_ids, links),
        provenance=provenance(study),
        trained=trained_between(study),
        commit=commits(study),
        pairs=[
            _pair(study, summaries, found, figures, *pair, devices, row_ids)
            | {
                "published": page_table(PUBLISHED_TITLES, [row.cells() for row in published[pair]], PUBLISHED_NOTE, 2),
                "even": _break_even(even[pair]),
            }
            for pair in study.pairs
        ],
        verdict_rule=VERDICT_RULE,
        break_even=break_even_tables,
        sensitivity=any(profile.sensitivity for profile in study.profiles.values()),
        overlays=overlays,
        overlays_left_out=overlays_left_out,
        audit=page_tables.audit_table(study.audit, devices),
        audit_methods=page_tables.method_audit_table(audit_methods(study.audit, study.profiles)),
        audit_outside=sum(map(page_tables.outside_plan, study.audit)),
        tolerance=f"{100 * TOLERANCE:.0f} %",
        holes=[row for row in study.rows if row.status != FINISHED],
    )


def inline_svg(text: str, prefix: str, label: str) -> Markup:
    """An SVG file's text for use inside a page: ids get `prefix`, colours become variables of the page's theme."""
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for colour, variable in _THEME.items():
        text = text.replace(colour, variable)
    width = re.search(r'<svg[^>]*?\bwidth="([\d.]+)pt"', text)
    natural = f"max-width:{float(width.group(1)) * 4 / 3:.0f}px" if width else ""
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    attributes = Markup('<svg role="img" style="{}" aria-label="{}"').format(natural, label)
    return Markup(text.replace("<svg", str(attributes), 1))


def _pair(
    study: Study,
    summaries: Sequence[Summary],
    found: Sequence[Difference],
    figures: Sequence[Drawing],
    dataset: str,
    pair: str,
    devices: Mapping[str, str],
    row_ids: Mapping[str, str],
) -> dict[str, Any]:
    own = [s for s in summaries if (s.first.dataset, s.first.pair) == (dataset, pair)]
    mine = [d for d in found if (d.dataset, d.pair) == (dataset, pair)]
    drawn = [f for f in figures if (f.dataset, f.pair) == (dataset, pair)]
    teacher = study.teachers.get((dataset, pair))
    metrics, rows = metrics_table(own)
    return {
        "name": f"{dataset} / {pair}",
        "verdict": pair_verdict(own, mine),
        "main": main_figure(own, row_ids),
        "teacher": f"{teacher.model}: {format.percent(teacher.scores.miou)} % mIoU" if teacher else "no scores found",
        "comparison": page_tables.comparison_table(
            own, f"{dataset} / {pair}, one row per method and budget. {FOOTNOTE}"
        ),
        "metrics": page_table(
            metrics, rows, "All metrics: means over the finished seeds ± half of the 95 % t interval.", 2
        ),
        "differences": page_table(
            DIFFERENCE_TITLES, map(difference_cells, mine), _DIFFERENCES, DIFFERENCE_WORDS, "differences"
        ),
        "figures": [
            {
                "title": figure.title,
                "caption": figure.caption,
                "svg": inline_svg(
                    figure.svg.read_text(encoding="utf-8"), figure.stem.name, f"{figure.title}. {figure.caption}"
                ),
            }
            for figure in drawn
            if not figure.stem.name.startswith(_DRAWN_BY_THE_PAGE)
        ],
        "costs": page_tables.cost_table(study, dataset, pair, devices),
        "charged": page_table(*teacher_cost(study, own), TEACHER_NOTE, TEACHER_WORDS),
        "throttled": page_tables.throttled(study, dataset, pair),
        "classes": page_tables.class_tables(own, teacher),
    }


def _break_even(found: BreakEven) -> dict[str, Any]:
    title = break_even_tables.curve_title(found)
    rows = [break_even_tables.row_cells(found, row) for row in found.rows]
    return {
        "why_not": found.why_not,
        "curve": page_table(
            break_even_tables.CURVE_TITLES, break_even_tables.curve_cells(found), title, break_even_tables.CURVE_WORDS
        ),
        "rows": page_table(
            break_even_tables.ROW_TITLES, rows, break_even_tables.NOTE, break_even_tables.ROW_WORDS, "even"
        ),
    }


def _links(study: Study, row: CellRow, folder: Path | None, run_urls: Mapping[str, str]) -> list[tuple[str, str]]:
    """(name, address) of what belongs to a cell. Folders have relative addresses, which hold wherever the results are."""
    found = []
    if folder is not None and folder.absolute().is_relative_to(study.results.absolute()):
        layout, cell = Layout(study.results), Cell.parse(row.path)
        for name, path in (("run", layout.student(cell)), ("scores", layout.evaluation(cell))):
            if path.is_dir():
                found.append((name, Path(os.path.relpath(path, folder)).as_posix() + "/"))
    if row.path in run_urls:
        found.append(("MLflow", run_urls[row.path]))
    return found
