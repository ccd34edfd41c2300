"""Which runs lie under results/ and runs/, read as the runs that MLflow should show. Knows nothing of MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout, RunFiles, TrainedFiles
from isoclock.records.record import StudentRecord, TeacherRecord
from isoclock.records.results import Results
from isoclock.records.run import StudentRun, TeacherRun
from isoclock.tracking.run_sources import profile_source, report_source, student_source, teacher_source
from isoclock.tracking.source import RunSource


def read_sources(
    layout: Layout,
    cells: Sequence[Cell],
    problems: list[str],
    teachers_of: Iterable[str] = (),
    grid: str | None = None,
) -> list[RunSource]:
    """Every teacher, profile and cell in reach of `cells` (none given: all there are), and the report of `grid`.

    Teachers are those of the cells' data sets and of `teachers_of`, profiles those of their pairs. A published run is read from
    results/, a live one from runs/; where a cell is being trained again, both are given, the older first. What cannot be read is
    left out and adds a line to `problems`.
    """
    pairs = {(cell.dataset, cell.pair) for cell in cells}
    datasets = {cell.dataset for cell in cells} | set(teachers_of)
    if not cells:
        cells = _cells_on_disk(layout)
        pairs = {(cell.dataset, cell.pair) for cell in cells} | _pairs_with_profiles(layout)
        datasets = {dataset for dataset, _ in pairs} | _datasets_with_teachers(layout)
    results = Results(layout, problems)
    sources: list[RunSource] = []
    for cell in sorted(cells):
        students: list[StudentRecord | StudentRun | None] = [results.record(cell), results.run(cell)]
        sources += [student_source(results, cell, run) for run in students if run is not None]
    for dataset, pair in sorted(pairs):
        for path in sorted(layout.profile(dataset, pair, "x").parent.glob("*.json")):
            if (profile := results.profile(dataset, pair, path.stem)) is not None:
                sources.append(profile_source(layout, path, profile))
    for dataset in sorted(datasets):
        models = {path.name for root in _teacher_roots(layout, dataset) if root.is_dir() for path in root.iterdir()}
        for model in sorted(models):
            teachers: list[TeacherRecord | TeacherRun | None] = [
                results.teacher_record(dataset, model),
                results.teacher_run(dataset, model),
            ]
            sources += [teacher_source(results, dataset, model, found) for found in teachers if found is not None]
    if grid is not None:
        reports = [report_source(layout, dataset, grid) for dataset in sorted({cell.dataset for cell in cells})]
        sources += [report for report in reports if report is not None]
    return _published_over_live(sources)


def watched_files(layout: Layout) -> Iterator[Path]:
    """The files whose change may mean something new for MLflow."""
    for root, name in (
        (layout.results, "*.json"),
        (layout.runs, RunFiles.run.name),
        (layout.runs, RunFiles.ledger.name),
    ):
        yield from root.rglob(name)


def _cells_on_disk(layout: Layout) -> list[Cell]:
    root = Path("student")
    found = set()
    for base, name in ((layout.results / root, TrainedFiles.record.name), (layout.runs / root, RunFiles.run.name)):
        for path in base.glob(f"*/*/*/*/*/{name}"):
            found.add(Cell.parse(path.parent.relative_to(base).as_posix()))
    return sorted(found)


def _pairs_with_profiles(layout: Layout) -> set[tuple[str, str]]:
    return {(path.parent.parent.name, path.parent.name) for path in (layout.results / "profile").glob("*/*/*.json")}


def _datasets_with_teachers(layout: Layout) -> set[str]:
    folders = {root.parent for root in _teacher_roots(layout, "x")}
    return {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}


def _teacher_roots(layout: Layout, dataset: str) -> tuple[Path, Path]:
    return layout.teacher(dataset, "x").parent, layout.teacher_run(dataset, "x").parent


def _published_over_live(sources: Iterable[RunSource]) -> list[RunSource]:
    """Each (key, run_id) once, published or else live; of one key the one started last comes last."""
    chosen: dict[tuple[str, str], RunSource] = {}
    for source in sources:
        chosen.setdefault((source.key, source.run_id), source)
    return sorted(chosen.values(), key=lambda source: (source.dataset, source.key, source.started_ms))
