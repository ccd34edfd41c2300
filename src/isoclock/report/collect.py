"""Read a results folder into a study: one row per cell of the grid, holes included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType

from isoclock.budget.audit import AuditRow, audit_record
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.params.variants import whole_dataset
from isoclock.protocol import VERSION
from isoclock.records.profile import Profile
from isoclock.records.record import StudentRecord
from isoclock.records.results import Results
from isoclock.records.scores import ScoreDocument
from isoclock.report.row import DIVERGED, FINISHED, MISSING, CellRow, read_row
from isoclock.report.weights import Weights

__all__ = ["DIVERGED", "FINISHED", "MISSING", "CellRow", "Study", "Teacher", "collect"]


@dataclass(frozen=True)
class Teacher:
    """A pair's teacher: the name of its model, its scores, and its train time; None if it was imported."""

    model: str
    scores: ScoreDocument
    train_s: float | None = None


@dataclass(frozen=True)
class Study:
    """Everything a report shows, read once: `teachers` by (dataset, pair), `profiles` by (dataset, pair, method).

    All of it is of one `version` of the protocol; results of another version are in no table.
    """

    results: Path
    rows: tuple[CellRow, ...]
    profiles: dict[tuple[str, str, str], Profile]
    teachers: dict[tuple[str, str], Teacher]
    records: dict[str, StudentRecord]
    audit: tuple[AuditRow, ...]
    version: int = VERSION

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(dataset, pair) in the grid's order."""
        return list(dict.fromkeys((row.dataset, row.pair) for row in self.rows))

    def of_pair(self, dataset: str, pair: str) -> list[CellRow]:
        """The rows of one pair, in the grid's order."""
        return [row for row in self.rows if (row.dataset, row.pair) == (dataset, pair)]

    def methods(self, dataset: str, pair: str) -> list[str]:
        """A pair's methods in the grid's order."""
        return list(dict.fromkeys(row.method for row in self.of_pair(dataset, pair)))


def collect(
    results_folder: Path,
    cells: Sequence[Cell],
    protocols: Mapping[str, str] = MappingProxyType({}),
    weights: Mapping[tuple[str, str, str], Weights] = MappingProxyType({}),
) -> Study:
    """Read what `results_folder` holds of `cells`.

    `protocols` has the protocol of each budget (`Params.protocols`), for cells that have neither a record nor a plan. `weights`
    says by (data set, pair, method) where the weights come from.

    A cell without record or scores becomes a row with status "missing" that says what to run; so does one of another version of
    the protocol than the table's, which is the newest of the cells' versions. Raises ArtifactError, with all problems, for files
    that are damaged.
    """
    results = Results(Layout(results_folder))
    trained = {cell: record for cell in cells if (record := results.record(cell)) is not None}
    measured = profiles_of(results, cells)
    version = max((found.protocol_version for found in trained.values() or measured.values()), default=VERSION)
    records = {cell: record for cell, record in trained.items() if record.protocol_version == version}
    teachers = _teachers(results, cells, records, version)
    rows = []
    for cell in cells:
        teacher = teachers.get((cell.dataset, cell.pair))
        miou = teacher.scores.miou if teacher else None
        row = read_row(results, cell, version, miou, protocols.get(cell.budget, ""))
        chosen = weights.get((cell.dataset, cell.pair, cell.method), Weights())
        rows.append(
            replace(row, weights=chosen.origin, tuning_s=chosen.train_s, tuning_anchor_steps=chosen.anchor_steps)
        )
    results.check()
    return Study(
        results_folder,
        tuple(rows),
        {key: profile for key, profile in measured.items() if profile.protocol_version == version},
        teachers,
        {cell.path: record for cell, record in records.items()},
        tuple(audit_record(record) for record in records.values()),
        version,
    )


def profiles_of(results: Results, cells: Sequence[Cell]) -> dict[tuple[str, str, str], Profile]:
    """The cost profiles of the methods of `cells`, by data set, pair and method. Those that are not there are left out."""
    needed = dict.fromkeys((cell.dataset, cell.pair, cell.method) for cell in cells)
    return {key: profile for key in needed if (profile := results.profile(*key)) is not None}


def _teachers(
    results: Results, cells: Sequence[Cell], records: Mapping[Cell, StudentRecord], version: int
) -> dict[tuple[str, str], Teacher]:
    """Each pair's teacher: by the digest that its students recorded, else the data set's only teacher.

    The teacher with that digest is looked for first among the data set's own, then, since it may be shared, among all others.
    Scores of another version of the protocol than the table's are passed over. Where images are held out, the students are
    scored on other images than the teacher.
    """

    def scored(dataset: str) -> Iterator[Teacher]:
        for model in _names(results.layout.teacher(dataset, "x").parent):
            scores = results.teacher_scores(dataset, model)
            if scores is not None and scores.protocol_version == version:
                record = results.teacher_record(dataset, model)
                train_s = record.clock.train_s if record is not None and record.imported is None else None
                yield Teacher(model, scores, train_s)

    chosen = {}
    everywhere = _names(results.layout.teacher("x", "x").parents[1])
    for dataset, pair in dict.fromkeys((c.dataset, c.pair) for c in cells if whole_dataset(c.dataset) == c.dataset):
        mine = [record for cell, record in records.items() if (cell.dataset, cell.pair) == (dataset, pair)]
        used = {record.digests.teacher for record in mine} - {None}
        found = list(scored(dataset))
        if used:
            others = (list(scored(name)) for name in everywhere if name != dataset)
            matching = ([one for one in some if one.scores.weights in used] for some in chain([found], others))
            found = next(filter(None, matching), [])
        if len(found) == 1:
            chosen[dataset, pair] = found[0]
    return chosen


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*") if path.is_dir())
