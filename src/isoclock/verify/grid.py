"""Every number of a grid's report: recomputed and compared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import zip_longest
from pathlib import Path

from isoclock.data.readers.reader import reader_of
from isoclock.errors import ArtifactError
from isoclock.grid.cells import cells, teachers_needed
from isoclock.grid.layout import REPORT_PAGE, Layout
from isoclock.params.load import Params
from isoclock.records.results import Results, scores_problem
from isoclock.report import build_report
from isoclock.report.weights import weights_of
from isoclock.verify.scores import score_problems
from isoclock.verify.times import time_problems

TABLES = ("*.csv", "*.md", "*.tex")
_LINKS = ("run", "scores", "MLflow")  # where files are is not a figure


@dataclass
class Verified:
    """What was compared, and what differs, one line each."""

    records: int = 0
    scores: int = 0
    files: int = 0
    problems: list[str] = field(default_factory=list)


def verify_grid(params: Params, grid: str, layout: Layout) -> Verified:
    """Recompute scores from confusion matrices, times from ledgers, and all tables and the page from those documents.

    Raises ArtifactError for damaged documents, ParamsError for an unknown grid.
    """
    found, results = Verified(), Results(layout)
    grid_cells = cells(params, grid)
    for cell in grid_cells:
        record, scores = results.record(cell), results.scores(cell)
        if record is None:
            continue
        found.records += 1
        if record.trained_as is None:  # a copy has the ledger of the cell that was trained
            found.problems += time_problems(layout.student_files(cell), record)
        if scores is not None and scores_problem(record, scores) is None:
            found.scores += 1
            classes = reader_of(params.dataset(cell.dataset)).classes
            found.problems += score_problems(layout.student_scores(cell), scores, classes, f"evaluate {cell.path}")
    for dataset, model in teachers_needed(params, grid_cells):
        teacher, scores = results.teacher_record(dataset, model), results.teacher_scores(dataset, model)
        if teacher is None:
            continue
        found.records += 1
        if teacher.imported is None:
            found.problems += time_problems(layout.teacher_files(dataset, model), teacher)
        if scores is not None and scores_problem(teacher, scores) is None:
            found.scores += 1
            classes, made_by = reader_of(params.dataset(dataset)).classes, f"evaluate {dataset}/{model}"
            found.problems += score_problems(layout.teacher_scores(dataset, model), scores, classes, made_by)
    results.check()
    found.problems += _report_problems(params, grid, layout, found)
    return found


def make_report(params: Params, grid: str, layout: Layout, out: Path) -> None:
    """The report of a grid in another folder, without links to MLflow."""
    build_report(
        layout.results,
        cells(params, grid),
        grid,
        out,
        published=list(params.published.values()),
        protocols=params.protocols,
        weights=weights_of(params, grid),
        about=params.grid(grid).about,
    )


def _report_problems(params: Params, grid: str, layout: Layout, found: Verified) -> Iterator[str]:
    remedy = f"make it again (isoclock report --grid {grid})"
    folder = layout.report(grid)
    if not layout.report_page(grid).is_file():
        raise ArtifactError(f"{layout.report_page(grid)}: not there; {remedy}")
    with tempfile.TemporaryDirectory() as temporary:
        again = Path(temporary) / grid
        make_report(params, grid, layout, again)
        for path in sorted(path for pattern in TABLES for path in again.glob(pattern)):
            found.files += 1
            theirs = folder / path.name
            if not theirs.is_file():
                yield f"{theirs}: not there; {remedy}"
            elif theirs.read_bytes() != path.read_bytes():
                yield f"{theirs}: {_first_difference(theirs, path)}; {remedy}"
        found.files += 1
        shown, expected = (page_texts(page / REPORT_PAGE) for page in (folder, again))
        for text, right in zip_longest(shown, expected):
            if text != right:
                yield f"{folder / REPORT_PAGE}: shows {text!r} where {right!r} is computed; {remedy}"
                break


def _first_difference(theirs: Path, path: Path) -> str:
    pairs = zip_longest(theirs.read_text(encoding="utf-8").splitlines(), path.read_text(encoding="utf-8").splitlines())
    number, (line, right) = next((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    return f"line {number} is {line!r}, and {right!r} is computed"


class _Texts(HTMLParser):
    """The verdict and the texts of all table cells of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._parts: list[str] | None = None
        self._link = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a cell."""
        if tag in ("td", "th") or ("class", "verdict") in attrs:
            self._parts = []
        self._link = tag == "a"

    def handle_endtag(self, tag: str) -> None:
        """Close a cell."""
        if tag in ("td", "th", "p") and self._parts is not None:
            self.found.append(" ".join("".join(self._parts).split()))
            self._parts = None
        if tag == "a":
            self._link = False

    def handle_data(self, data: str) -> None:
        """Text of a cell; the names of links are left out."""
        if self._parts is not None and not (self._link and data.strip() in _LINKS):
            self._parts.append(data)


def page_texts(path: Path) -> list[str]:
    """The verdict and the texts of all table cells of a report's page, in order."""
    parser = _Texts()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser.found
