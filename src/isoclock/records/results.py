"""The results of a study, read from disk: one reader for audit, report and MLflow.

Every document is checked when it is read. Damaged ones are collected as problems, so that a verb can report all of them
together.
"""

from __future__ import annotations

from pathlib import Path

from isoclock.errors import ArtifactError
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout, RunFiles
from isoclock.records.document import AnyPart, Part, read
from isoclock.records.plan import AcceptedBudget, Plan
from isoclock.records.profile import Profile
from isoclock.records.record import Record, StudentRecord, TeacherRecord
from isoclock.records.run import StudentRun, TeacherRun
from isoclock.records.scores import ScoreDocument


class Results:
    """Reads documents below results/ and runs/. Each method returns None where there is no file or the file is damaged.

    `problems` has a line for every damaged document; `check` raises them.
    """

    def __init__(self, layout: Layout, problems: list[str] | None = None) -> None:
        self.layout = layout
        self.problems: list[str] = [] if problems is None else problems
        self._found: dict[tuple[Path, type[Part]], Part | None] = {}

    def check(self) -> None:
        """Raise ArtifactError with all problems so far, if there are any."""
        if self.problems:
            raise ArtifactError(self.problems)

    def record(self, cell: Cell) -> StudentRecord | None:
        """The published record of a student."""
        return self.document(self.layout.student_files(cell).record, StudentRecord, f"student {cell.path}")

    def run(self, cell: Cell) -> StudentRun | None:
        """The live run of a student."""
        return self.document(RunFiles(self.layout.student_run(cell)).run, StudentRun, f"student {cell.path}")

    def teacher_record(self, dataset: str, model: str) -> TeacherRecord | None:
        """The published record of a teacher."""
        path = self.layout.teacher_files(dataset, model).record
        return self.document(path, TeacherRecord, f"teacher {dataset} {model}")

    def teacher_run(self, dataset: str, model: str) -> TeacherRun | None:
        """The live run of a teacher."""
        path = RunFiles(self.layout.teacher_run(dataset, model)).run
        return self.document(path, TeacherRun, f"teacher {dataset} {model}")

    def profile(self, dataset: str, pair: str, method: str) -> Profile | None:
        """The cost profile of a method, as it is now: after a new measurement it may differ from the one a plan was made from."""
        path = self.layout.profile(dataset, pair, method)
        return self.document(path, Profile, f"profile {dataset} {pair} {path.stem}")

    def planned_profile(self, plan: Plan) -> Profile | None:
        """The profile that a plan was made from; None if the method was profiled again since, and has another cost."""
        profile = self.profile(plan.dataset, plan.pair, plan.method)
        if profile is None or profile.protocol_version != plan.protocol_version:
            return None
        same = profile.cost.ratio == plan.cost_ratio and profile.device_kind == plan.device_kind
        return profile if same else None

    def accepted_budget(self, dataset: str, pair: str, budget: str) -> AcceptedBudget | None:
        """A budget, resolved into anchor-steps."""
        path = self.layout.accepted_budget(dataset, pair, budget)
        return self.document(path, AcceptedBudget, f"plan {dataset} {pair} {budget}")

    def plan(self, cell: Cell) -> Plan | None:
        """The plan of a cell, as it is now: a trained cell has the one it was trained by in its record."""
        path = self.layout.plan(cell.dataset, cell.pair, cell.method, cell.budget)
        return self.document(path, Plan, f"plan {cell.dataset} {cell.pair} {cell.budget} {cell.method}")

    def scores(self, cell: Cell) -> ScoreDocument | None:
        """The scores of a student, possibly of other weights than its record has; see `scores_problem`."""
        return self.document(self.layout.student_scores(cell).scores, ScoreDocument, f"evaluate {cell.path}")

    def teacher_scores(self, dataset: str, model: str) -> ScoreDocument | None:
        """The scores of a teacher, possibly of other weights than its record has."""
        path = self.layout.teacher_scores(dataset, model).scores
        return self.document(path, ScoreDocument, f"evaluate {dataset}/{model}")

    def document(self, path: Path, model: type[AnyPart], made_by: str) -> AnyPart | None:
        """Read a document once. None if there is no file, or if it is damaged, which is added to `problems`."""
        key = (path, model)
        if key not in self._found:
            self._found[key] = self._read(path, model, made_by)
        found = self._found[key]
        return found if isinstance(found, model) else None

    def _read(self, path: Path, model: type[AnyPart], made_by: str) -> AnyPart | None:
        if not path.is_file():
            return None
        try:
            return read(path, model, made_by)
        except ArtifactError as error:
            self.problems += [problem for problem in error.problems if problem not in self.problems]
            return None


def scores_problem(record: Record, scores: ScoreDocument | None) -> str | None:
    """Why a run has no scores: there are none, or those on disk are of other weights or another protocol version.

    None where `scores` are those of the run. A teacher's scores may be of a later version than its weights.
    """
    if scores is None:
        return "trained, not scored: no scores.json"
    if scores.weights != record.digests.weights:
        return "the scores are of other weights than the record's"
    if isinstance(record, StudentRecord) and scores.protocol_version != record.protocol_version:
        return (
            f"scored under version {scores.protocol_version} of the protocol, and trained under version "
            f"{record.protocol_version}"
        )
    return None
