"""One self-contained HTML page: figures inline, overlays as data URIs, no network requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from isoclock import __version__
from isoclock.budget.audit import TOLERANCE, AuditRow
from isoclock.report import break_even_tables, format
from isoclock.report.break_even import BreakEven
from isoclock.report.collect import DIVERGED, FINISHED, MISSING, Study, Teacher
from isoclock.report.figures import Drawing
from isoclock.report.metrics_table import metrics_table
from isoclock.report.overlays import overlay_blocks
from isoclock.report.published import PUBLISHED_NOTE, PUBLISHED_TITLES, PublishedRow
from isoclock.report.style import FAINT, HOLE, INK, PAPER, RULE
from isoclock.report.summary import Difference, Summary
from isoclock.report.tables import DIFFERENCE_TITLES, FOOTNOTE, Column, columns, difference_cells
from isoclock.training.kind import short_kinds

_TEMPLATES = Path(__file__).parent / "templates"
_THEME = {PAPER: "var(--paper)", INK: "var(--ink)", FAINT: "var(--faint)", RULE: "var(--rule)", HOLE: "var(--bad)"}
_LOSSES = {"fp32": "losses in float32", "autocast": "losses under autocast"}
_ARITHMETIC = (
    "precision", "loss_precision", "matmul_precision", "cudnn_benchmark", "teacher_inference", "compile",
)  # fmt: skip
_LEFT_OUT = "protocol"
"""The name of a budget includes its protocol; without that column the marks are visible on a laptop screen."""


def render_page(
    study: Study,
    summaries: Sequence[Summary],
    found: Sequence[Difference],
    figures: Sequence[Drawing],
    grid_name: str,
    published: Mapping[tuple[str, str], Sequence[PublishedRow]],
    even: Mapping[tuple[str, str], BreakEven],
) -> str:
    """The report as HTML. Text from results is escaped; figures are inserted from their SVG files."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    overlays, overlays_left_out = overlay_blocks(study)
    devices = _devices(study)
    return environment.get_template("report.html.j2").render(
        grid=grid_name,
        version=__version__,
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup((_TEMPLATES / "report.js").read_text(encoding="utf-8")),
        version_note=format.version_note(study.version),
        counts={status: sum(row.status == status for row in study.rows) for status in (FINISHED, DIVERGED, MISSING)},
        cells=len(study.rows),
        provenance=_provenance(study),
        pairs=[
            _pair(study, summaries, found, figures, *pair, devices)
            | {"published": [row.cells() for row in published[pair]], "even": _break_even(even[pair])}
            for pair in study.pairs
        ],
        footnote=FOOTNOTE,
        difference_titles=DIFFERENCE_TITLES,
        published_titles=PUBLISHED_TITLES,
        published_note=PUBLISHED_NOTE,
        break_even=break_even_tables,
        sensitivity=any(profile.sensitivity for profile in study.profiles.values()),
        overlays=overlays,
        overlays_left_out=overlays_left_out,
        audit=[_audited(row, devices) for row in study.audit],
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
) -> dict[str, Any]:
    own = [s for s in summaries if (s.first.dataset, s.first.pair) == (dataset, pair)]
    shown = [column for column in columns(own) if column.title != _LEFT_OUT]
    teacher = study.teachers.get((dataset, pair))
    highest = max((s for s in own if s.first.protocol == "compute" and s.miou.mean is not None),
                  key=lambda s: s.miou.mean or 0, default=None)  # fmt: skip
    return {
        "name": f"{dataset} / {pair}",
        "teacher": f"{teacher.model}: {format.percent(teacher.scores.miou)} % mIoU" if teacher else "no scores found",
        "highest": f"{highest.first.method}, {highest.first.budget}: {format.points(highest.miou)}"
        if highest
        else None,
        "titles": [(column.title, column.words) for column in shown],
        "rows": [_table_row(s, shown) for s in own],
        "metrics": metrics_table(own),
        "differences": [difference_cells(d) for d in found if (d.dataset, d.pair) == (dataset, pair)],
        "figures": [
            {
                "title": figure.title,
                "caption": figure.caption,
                "svg": inline_svg(figure.svg.read_text(encoding="utf-8"), figure.stem.name, figure.title),
            }
            for figure in figures
            if (figure.dataset, figure.pair) == (dataset, pair)
        ],
        "costs": [
            row for method in study.methods(dataset, pair) for row in _cost_rows(study, dataset, pair, method, devices)
        ],
        "throttled": _throttled(study, dataset, pair),
        "classes": _class_tables(own, teacher),
    }


def _break_even(found: BreakEven) -> dict[str, Any]:
    return {
        "why_not": found.why_not,
        "curve_title": break_even_tables.curve_title(found),
        "curve": break_even_tables.curve_cells(found),
        "rows": [break_even_tables.row_cells(found, row) for row in found.rows],
    }


def _table_row(s: Summary, shown: Sequence[Column]) -> dict[str, Any]:
    cells = []
    for column in shown:
        value = column.value(s)
        cells.append({"text": column.text(s), "sort": "" if value is None else value, "words": column.words})
    return {"cells": cells, "hole": s.count(FINISHED) < len(s.rows), "protocol": s.first.protocol}


def _devices(study: Study) -> dict[str, str]:
    """How columns name what cells were profiled and trained on; provenance has the whole kinds."""
    found = [profile.device_kind for profile in study.profiles.values()] + [row.device_kind for row in study.audit]
    short = short_kinds({kind for kinds in found for kind in kinds.split("; ")})
    return {kinds: "; ".join(short[kind] for kind in kinds.split("; ")) for kinds in found}


def _cost_rows(study: Study, dataset: str, pair: str, method: str, devices: Mapping[str, str]) -> list[list[str]]:
    """What a method costs, and below it its cost with losses in the other precision, where that was measured."""
    profile = study.profiles.get((dataset, pair, method))
    if profile is None:
        return [[method, "no profile", *[format.NOTHING] * 9]]
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


def _throttled(study: Study, dataset: str, pair: str) -> str:
    """One line: the methods of a pair during whose profile the GPU lowered its clock, and why; empty if there is none."""
    found = []
    for method in study.methods(dataset, pair):
        profile = study.profiles.get((dataset, pair, method))
        if profile is not None and profile.gpu is not None and profile.gpu.throttled:
            found.append(f"{method} ({profile.gpu.reasons})")
    return "; ".join(found)


def _class_tables(summaries: Sequence[Summary], teacher: Teacher | None) -> list[dict[str, Any]]:
    """One table per budget: rows are classes, columns methods, values means over finished seeds."""
    tables = []
    for budget in dict.fromkeys(s.first.budget for s in summaries):
        columns: list[tuple[str, dict[str, float | None]]] = (
            [("teacher", teacher.scores.per_class_iou)] if teacher else []
        )
        for s in summaries:
            finished = [row.per_class_iou for row in s.rows if row.status == FINISHED]
            if s.first.budget == budget and finished:
                columns.append(
                    (s.first.method, {name: _mean(scores[name] for scores in finished) for name in finished[0]})
                )
        if len(columns) <= bool(teacher):
            continue
        names = list(columns[-1][1])
        rows = [(name, [_shaded(scores.get(name)) for _, scores in columns]) for name in names]
        tables.append({"budget": budget, "methods": [title for title, _ in columns], "rows": rows})
    return tables


def _shaded(value: float | None) -> dict[str, Any]:
    return {
        "text": format.percent(value),
        "shade": 0 if value is None else round(70 * value),
        "sort": "" if value is None else value,
    }


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _audited(row: AuditRow, devices: Mapping[str, str]) -> dict[str, Any]:
    deviation = row.deviation
    cells = [
        *map(str, row.cell.as_dict().values()),
        format.seconds(row.planned_s),
        format.seconds(row.spent_s),
        format.count(row.planned_anchor_steps),
        format.count(row.spent_anchor_steps),
        format.NOTHING if deviation is None else f"{100 * deviation:+.1f} %",
        format.ratio(row.contention),
        format.seconds(row.lost_s),
        devices[row.device_kind],
        ", ".join(row.marks),
    ]
    return {"cells": cells, "outside": deviation is not None and abs(deviation) > TOLERANCE}


def _provenance(study: Study) -> list[tuple[str, str]]:
    """What the cells were made with; several values of one thing are all shown, since they may explain a difference."""
    records = list(study.records.values())

    def values(of: Iterable[object], between: str = ", ") -> str:
        return between.join(sorted({str(value) for value in of if value is not None})) or format.NOTHING

    packages = sorted({name for record in records for name in record.environment})
    environment = "; ".join(f"{name} {values(record.environment.get(name) for record in records)}" for name in packages)
    hardware = [record.hardware for record in records]
    devices, kinds = values(one.device for one in hardware), values((one.device_kind for one in hardware), "; ")
    recipes = [record.params["recipe"] for record in records]
    arithmetic = "; ".join(f"{key} {values(recipe.get(key) for recipe in recipes)}" for key in _ARITHMETIC)
    trained_s = sum(record.clock.train_s for record in records)
    lost_s = sum(record.clock.lost_s for record in records)
    digests = {
        "data": values(record.digests.data for record in records),
        "teacher": values(record.digests.teacher for record in records),
    }
    return [
        ("protocol version", str(study.version)),
        ("devices", f"{devices}: {kinds}; {values(one.threads for one in hardware)} threads"),
        ("arithmetic", arithmetic),
        ("environment", environment or format.NOTHING),
        (
            "time trained, all cells",
            f"{format.seconds(trained_s)}; lost with killed segments: {format.seconds(lost_s)}",
        ),
        *((f"{name} digest", ", ".join(value[:12] for value in text.split(", "))) for name, text in digests.items()),
        ("isoclock", __version__),
    ]
