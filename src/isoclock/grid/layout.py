"""Where the files of a study are. The only module that spells paths below results/ and runs/.

Snakemake wants paths as literals in its rules, and DVC in dvc.yaml; tests compare both with this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from isoclock.params.variants import without_factor

if TYPE_CHECKING:
    from isoclock.grid.cells import Cell

RESULTS = Path("results")
RUNS = Path("runs")
SNAKEMAKE_LOCKS = Path(".snakemake/locks")  # has files while a Snakemake works here, and after one was killed
REPORT_PAGE = "report.html"  # in a report's folder


class _In:
    """A file of a folder: an attribute of a class with the attribute `folder`."""

    def __init__(self, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, files: None, owner: type) -> _In: ...

    @overload
    def __get__(self, files: Any, owner: type) -> Path: ...

    def __get__(self, files: Any, owner: type) -> _In | Path:
        if files is None:
            return self  # of the class, whose `name` is the file's
        folder: Path = files.folder
        return folder / self.name


@dataclass(frozen=True)
class TrainedFiles:
    """The published files of a teacher or a student, in their `folder`."""

    folder: Path
    weights = _In("weights.safetensors")
    ledger = _In("ledger.jsonl")
    validation = _In("validation.npz")  # the last validation, which `evaluate` can reuse
    record = _In("record.json")  # written last: if it exists, the others are complete


@dataclass(frozen=True)
class ScoreFiles:
    """The scores of a teacher or a student, in their `folder`."""

    folder: Path
    confusion = _In("confusion.npz")  # of the whole split and of each image
    overlays = _In("overlays")  # folder of pictures with predictions
    scores = _In("scores.json")  # written last: if it exists, the others are complete


@dataclass(frozen=True)
class RunFiles:
    """The files of a training run that may not have ended, in its `folder` below runs/."""

    folder: Path
    run = _In("run.json")  # identity and inputs
    ledger = _In("ledger.jsonl")
    lease = _In("lease")  # a lock: which process may write into the folder


@dataclass(frozen=True)
class Layout:
    """Paths of a study, relative to its folder."""

    results: Path = RESULTS
    runs: Path = RUNS

    def prepared(self, dataset: str) -> Path:
        """Folder of a prepared data set."""
        return self.results / "data" / dataset

    def prepared_index(self, dataset: str) -> Path:
        """Index of a prepared data set. It is written last, and holds the digests of the other files."""
        return self.prepared(dataset) / "index.json"

    def teacher(self, dataset: str, model: str) -> Path:
        """Folder of a trained teacher and of its scores."""
        return self.results / "teacher" / dataset / model

    def teacher_files(self, dataset: str, model: str) -> TrainedFiles:
        """Published files of a teacher."""
        return TrainedFiles(self.teacher(dataset, model))

    def teacher_scores(self, dataset: str, model: str) -> ScoreFiles:
        """Scores of a teacher."""
        return ScoreFiles(self.teacher(dataset, model))

    def gate_mark(self, grid: str, dataset: str, pair: str) -> Path:
        """Empty file that says that a pair's teacher scored what a grid demands."""
        return self.results / "gate" / grid / dataset / f"{pair}.done"

    def profile(self, dataset: str, pair: str, method: str) -> Path:
        """Cost profile of a method, which it has with any factor of its weights."""
        return self.results / "profile" / dataset / pair / f"{without_factor(method)}.json"

    def accepted_budget(self, dataset: str, pair: str, budget: str) -> Path:
        """A budget, resolved into anchor-steps."""
        return self.results / "plan" / dataset / pair / "accepted" / f"{budget}.json"

    def plan(self, dataset: str, pair: str, method: str, budget: str) -> Path:
        """Plan of the cells of a method and budget, which all seeds share."""
        return self.results / "plan" / dataset / pair / method / f"{budget}.json"

    def student(self, cell: Cell) -> Path:
        """Folder of a trained student."""
        return self.results / "student" / cell.path

    def student_files(self, cell: Cell) -> TrainedFiles:
        """Published files of a student."""
        return TrainedFiles(self.student(cell))

    def evaluation(self, cell: Cell) -> Path:
        """Folder of a student's scores."""
        return self.results / "evaluate" / cell.path

    def student_scores(self, cell: Cell) -> ScoreFiles:
        """Scores of a student."""
        return ScoreFiles(self.evaluation(cell))

    def report(self, grid: str) -> Path:
        """Folder of a grid's report."""
        return self.results / "report" / grid

    def report_page(self, grid: str) -> Path:
        """The report as one HTML page."""
        return self.report(grid) / REPORT_PAGE

    def exported(self, name: str) -> Path:
        """Folder of an exported network, by its cell or as dataset/model."""
        return self.results / "export" / name

    def sync_mark(self, grid: str, stage: str) -> Path:
        """Empty file that says that MLflow was brought up to date after a stage."""
        return self.results / "sync" / grid / f"{stage}.done"

    def stamp(self, verb: str, *parts: str) -> Path:
        """What a rule depends on in params/ and code."""
        return _json(self.results / "stamps" / verb, parts)

    def teacher_run(self, dataset: str, model: str) -> Path:
        """Folder of a teacher's training, while it runs."""
        return self.runs / "teacher" / dataset / model

    def student_run(self, cell: Cell) -> Path:
        """Folder of a student's training, while it runs."""
        return self.runs / "student" / cell.path

    def accepted_record(self, kind: str, *parts: str) -> Path:
        """Copy of an accepted cost or budget. It is no rule's output, so that it survives a rerun."""
        return _json(self.runs / "accepted" / kind, parts)

    @property
    def digests(self) -> Path:
        """Folder of digests that were compared, each with size and times of its file, which another copy does not have."""
        return self.runs / "digests"

    def counted_flops(self) -> Path:
        """GFLOPs that a forecast counted, to be read by the next one."""
        return self.runs / "flops.json"

    def log(self, rule: str, *parts: str) -> Path:
        """What a job of a rule printed."""
        return self.runs.joinpath("logs", rule, *parts[:-1], f"{parts[-1]}.log")


def _json(folder: Path, parts: tuple[str, ...]) -> Path:
    return folder.joinpath(*parts[:-1], f"{parts[-1]}.json")
