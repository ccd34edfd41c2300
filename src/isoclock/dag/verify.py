"""Results on disk against this checkout: every digest in a record, every value of params/, and the code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoclock.data.packing.packed import PackedSplit, read_index
from isoclock.errors import UserError
from isoclock.files import read_arrays, sha256_file, sha256_json
from isoclock.grid.cells import Cell, cells, datasets_needed, profiles_needed, teachers_needed
from isoclock.grid.layout import Layout, ScoreFiles, TrainedFiles
from isoclock.grid.stamps import budget_stamp, cost_inputs, profile_stamp, student_stamp, teacher_stamp
from isoclock.params.load import Params
from isoclock.protocol import VERSION
from isoclock.records.record import Record
from isoclock.records.results import Results
from isoclock.records.scores import ScoreDocument
from isoclock.scoring.metrics.miou import of as mean_iou


@dataclass
class Verifier:
    """Collects a line for every file that is missing, damaged or made from something else."""

    params: Params
    layout: Layout
    problems: list[str] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)  # files that were looked at

    def __post_init__(self) -> None:
        self.results = Results(self.layout, self.problems)

    def grid(self, name: str) -> None:
        """Data, teachers, profiles, budgets, plans, students and scores of a grid."""
        params, layout, found = self.params, self.layout, cells(self.params, name)
        for dataset in datasets_needed(params, found):
            folder = layout.prepared(dataset)
            try:
                splits = list(read_index(folder).splits)
            except UserError as error:
                self.problems += error.problems
                continue
            for split in splits:
                try:
                    PackedSplit(folder, split).verify()
                except UserError as error:
                    self.problems += error.problems
        for dataset, model in teachers_needed(params, found):
            self._teacher(dataset, model)
        for dataset, pair, method in profiles_needed(params, name):
            self._profile(dataset, pair, method)
        for cell in found:
            self._student(cell)
        self._there(layout.report_page(name), "report")

    def _teacher(self, dataset: str, model: str) -> None:
        files, record = self.layout.teacher_files(dataset, model), self.results.teacher_record(dataset, model)
        if not self._there(files.record, "teacher") or record is None:
            return
        stamp = teacher_stamp(self.params, dataset, model)
        self._same(files.record, record.params, stamp, ("recipe", "model"))
        self._is(files.record, "code", record.digests.code, stamp["code"])
        self._made(files, dataset, record)
        self._scored(self.layout.teacher_scores(dataset, model), record, self.results.teacher_scores(dataset, model))

    def _profile(self, dataset: str, pair: str, method: str) -> None:
        path = self.layout.profile(dataset, pair, method)
        profile = self.results.profile(dataset, pair, method)
        if not self._there(path, "profile") or profile is None:
            return
        digests, about = profile.digests, cost_inputs(self.params, dataset, pair, method)
        self._is(path, "version of the protocol", profile.protocol_version, VERSION)
        self._is(path, "code", digests.code, profile_stamp(self.params, dataset, pair, method)["code"])
        self._is(path, "params", digests.inputs, sha256_json(about))
        self._is(path, "data", digests.data, self._digest(self.layout.prepared_index(dataset)))

    def _student(self, cell: Cell) -> None:
        files, layout = self.layout.student_files(cell), self.layout
        path = files.record
        accepted_path = layout.accepted_budget(cell.dataset, cell.pair, cell.budget)
        accepted = self.results.accepted_budget(cell.dataset, cell.pair, cell.budget)
        if self._there(accepted_path, "plan") and accepted is not None:
            entry = sha256_json(budget_stamp(self.params, cell.dataset, cell.pair, cell.budget))
            self._is(accepted_path, "params", accepted.entry, entry)
        record = self.results.record(cell)
        if not self._there(path, "student") or record is None:
            return
        stamp, digests = student_stamp(self.params, cell), record.digests
        self._is(path, "version of the protocol", record.protocol_version, VERSION)
        self._same(path, record.params, stamp, ("recipe", "student", "teacher", "method"))
        self._is(path, "code", digests.code, stamp["code"])
        plan = layout.plan(cell.dataset, cell.pair, cell.method, cell.budget)
        self._is(path, "plan", digests.plan, self._digest(plan))
        teacher = None
        if self.params.has_teacher(cell.method, cell.dataset):
            ((dataset, model),) = teachers_needed(self.params, [cell])
            teacher = self._digest(layout.teacher_files(dataset, model).weights)
        self._is(path, "teacher", digests.teacher, teacher)
        self._made(files, cell.dataset, record)
        self._scored(layout.student_scores(cell), record, self.results.scores(cell))

    def _made(self, files: TrainedFiles, dataset: str, record: Record) -> None:
        """What teachers and students have in common."""
        self._is(
            files.record,
            "data",
            record.digests.data,
            self._digest(self.layout.prepared_index(dataset)),
        )
        if self._digest(files.weights) != record.digests.weights:
            self.problems.append(f"{files.weights}: not the file that record.json describes; `dvc pull` again")
        self._there(files.ledger, "student")

    def _scored(self, files: ScoreFiles, record: Record, scores: ScoreDocument | None) -> None:
        if not self._there(files.scores, "evaluate") or scores is None:
            return
        if not self._there(files.confusion, "evaluate"):
            return
        self._is(files.scores, "version of the protocol", scores.protocol_version, VERSION)
        self._is(files.scores, "weights", scores.weights, record.digests.weights)
        try:
            (total,) = read_arrays(files.confusion, "total", made_by="evaluate")
        except UserError as error:
            self.problems += error.problems
            return
        counted = mean_iou(total)
        if scores.miou is not None and scores.miou != counted:
            self.problems.append(f"{files.scores}: mIoU {scores.miou} is not that of confusion.npz, {counted}")

    def _there(self, path: Path, made_by: str) -> bool:
        self.seen.add(path)
        if not path.is_file():
            self.problems.append(f"{path}: not there; `dvc pull` brings it, or `isoclock {made_by}` makes it")
        return path.is_file()

    def _digest(self, path: Path) -> str | None:
        self.seen.add(path)
        return sha256_file(path) if path.is_file() else None

    def _same(self, path: Path, recorded: Mapping[str, Any], stamp: dict[str, Any], keys: tuple[str, ...]) -> None:
        for key in keys:
            self._is(path, key, recorded.get(key), stamp[key])

    def _is(self, path: Path, what: str, recorded: Any, here: Any) -> None:
        if recorded != here:
            self.problems.append(
                f"{path}: made from another {what} than is here; check out what it was made from, or make it again"
            )
