"""Every number of a grid's report: recomputed and compared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import zip_longest
from pathlib import Path

from isoclock.data.readers.reader import reader_of
from isoclock.errors import ArtifactError
from isoclock.grid.cells import cells, datasets_needed, teachers_needed
from isoclock.grid.layout import REPORT_PAGE, Layout, ScoreFiles, TrainedFiles
from isoclock.params.load import Params
from isoclock.records.record import Record
from isoclock.records.results import Results, scores_problem
from isoclock.records.scores import ScoreDocument
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

    def add(
        self,
        record: Record | None,
        trained: TrainedFiles | None,
        scores: ScoreDocument | None,
        scored: ScoreFiles,
        classes: Sequence[str],
        made_by: str,
    ) -> None:
        """Verify a student or teacher, if it has a record; without `trained`, no ledger is its own."""
        if record is None:
            return
        self.records += 1
        if trained is not None:
            self.problems += time_problems(trained, record)
        if scores is not None and scores_problem(record, scores) is None:
            self.scores += 1
            self.problems += score_problems(scored, scores, classes, made_by)


def verify_grid(params: Params, grid: str, layout: Layout) -> Verified:
    """Recompute scores from confusion matrices, times from ledgers, and all tables and the page from those documents.

    Raises ArtifactError for damaged documents, ParamsError for an unknown grid.
    """
    found, results = Verified(), Results(layout)
    grid_cells = cells(params, grid)
    classes = {name: reader_of(params.dataset(name)).classes for name in datasets_needed(params, grid_cells)}
    for cell in grid_cells:
        record = results.record(cell)
        # A copy of another cell's result has the ledger of the run that was trained.
        files = layout.student_files(cell) if record is not None and record.trained_as is None else None
        made_by = f"evaluate {cell.path}"
        found.add(record, files, results.scores(cell), layout.student_scores(cell), classes[cell.dataset], made_by)
    for where in teachers_needed(params, grid_cells):
        teacher, made_by = results.teacher_record(*where), f"evaluate {'/'.join(where)}"
        files = layout.teacher_files(*where) if teacher is not None and teacher.imported is None else None
        scores = results.teacher_scores(*where)
        found.add(teacher, files, scores, layout.teacher_scores(*where), classes[where[0]], made_by)
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
