"""Where the files of a study are. The only module that spells paths below results/ and runs/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isoclock.grid.cells import Cell

RESULTS = Path("results")
RUNS = Path("runs")


@dataclass(frozen=True)
class Layout:
    """Where everything lies, relative to the study's folder."""

    results: Path = RESULTS
    runs: Path = RUNS

    def prepared(self, dataset: str) -> Path:
        """Folder of a prepared data set."""
        return self.results / "data" / dataset

    def teacher(self, dataset: str, model: str) -> Path:
        """Folder of a trained teacher."""
        return self.results / "teacher" / dataset / model

    def profile(self, dataset: str, pair: str, method: str) -> Path:
        """Cost profile of a method."""
        return self.results / "profile" / dataset / pair / f"{method}.json"

    def accepted_budget(self, dataset: str, pair: str, budget: str) -> Path:
        """A budget, resolved into anchor-steps."""
        return self.results / "plan" / dataset / pair / "accepted" / f"{budget}.json"

    def plan(self, dataset: str, pair: str, method: str, budget: str) -> Path:
        """Plan of the cells of a method and budget, whatever their seed."""
        return self.results / "plan" / dataset / pair / method / f"{budget}.json"

    def student(self, cell: Cell) -> Path:
        """Folder of a trained student."""
        return self.results / "student" / cell.path

    def evaluation(self, cell: Cell) -> Path:
        """Folder of a student's scores."""
        return self.results / "evaluate" / cell.path

    def report(self, grid: str) -> Path:
        """Folder of a grid's report."""
        return self.results / "report" / grid

    def teacher_run(self, dataset: str, model: str) -> Path:
        """Live folder of a teacher's training."""
        return self.runs / "teacher" / dataset / model

    def student_run(self, cell: Cell) -> Path:
        """Live folder of a student's training."""
        return self.runs / "student" / cell.path

    def accepted_record(self, kind: str, *parts: str) -> Path:
        """Where an accepted cost or budget is remembered: no rule's output, so that it survives a rerun."""
        return self.runs / "accepted" / kind / Path(*parts[:-1]) / f"{parts[-1]}.json"

    def stamp(self, verb: str, *parts: str) -> Path:
        """What a rule depends on in params/ and code."""
        return self.results / "stamps" / verb / Path(*parts[:-1]) / f"{parts[-1]}.json"
