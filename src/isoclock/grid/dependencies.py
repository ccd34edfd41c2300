"""What each rule of the workflow reads and writes: the one definition.

Stamps and the workflow's targets are taken from here. The rule files and dvc.yaml repeat the paths, because their tools need
literals; a test compares them with this module.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from isoclock.grid.cells import Cell, trained_before
from isoclock.grid.layout import Layout
from isoclock.params.load import Params

Files = tuple[Path, ...]


@dataclass(frozen=True)
class Job:
    """One job of a rule. Wildcards, inputs and outputs have the names of the rule file. The main output comes first."""

    rule: str
    wildcards: Mapping[str, str]
    inputs: Mapping[str, Files]
    outputs: Mapping[str, Path]


@dataclass(frozen=True)
class Rules:
    """The rules that make one thing: a data set, a network, a number. `isoclock.grid.jobs` has all jobs of a grid."""

    params: Params
    layout: Layout
    gates: Mapping[tuple[str, str], Path] = field(default_factory=dict)  # marks by data set and pair (`GridJobs.gates`)

    def prepare(self, dataset: str) -> Job:
        """Packing of a data set. The raw files are no input: their times depend on the checkout."""
        inputs = {"stamp": self._stamp("prepare", dataset)}
        return Job("prepare", {"dataset": dataset}, inputs, {"index": self.layout.prepared_index(dataset)})

    def teacher(self, dataset: str, model: str) -> Job:
        """Training of a teacher."""
        files = self.layout.teacher_files(dataset, model)
        inputs = {"stamp": self._stamp("teacher", dataset, model), "data": self._data(dataset)}
        outputs = {"record": files.record, "weights": files.weights, "ledger": files.ledger}
        return Job("teacher", {"dataset": dataset, "model": model}, inputs, outputs)

    def profile(self, dataset: str, pair: str, method: str) -> Job:
        """Measuring what an iteration of a method costs, after the teacher's gate."""
        inputs = {
            "stamp": self._stamp("profile", dataset, pair, method),
            "data": self._data(dataset),
            "gate": self._gate(dataset, pair),
        }
        wildcards = {"dataset": dataset, "pair": pair, "method": method}
        return Job("profile", wildcards, inputs, {"profile": self.layout.profile(dataset, pair, method)})

    def budget(self, dataset: str, pair: str, budget: str) -> Job:
        """Resolving a budget into anchor-steps. Only a budget with a yardstick reads a profile."""
        yardstick = self.params.budget(budget).yardstick
        profile = () if yardstick is None else (self.layout.profile(dataset, pair, yardstick),)
        inputs = {"stamp": self._stamp("budget", dataset, pair, budget), "yardstick": profile}
        wildcards = {"dataset": dataset, "pair": pair, "budget": budget}
        return Job("budget", wildcards, inputs, {"accepted": self.layout.accepted_budget(dataset, pair, budget)})

    def plan(self, dataset: str, pair: str, method: str, budget: str) -> Job:
        """Turning a budget into iterations of a method."""
        layout, wildcards = self.layout, {"dataset": dataset, "pair": pair, "method": method, "budget": budget}
        inputs = {
            "profile": (layout.profile(dataset, pair, method),),
            "accepted": (layout.accepted_budget(dataset, pair, budget),),
        }
        return Job("plan", wildcards, inputs, {"plan": layout.plan(dataset, pair, method, budget)})

    def student(self, cell: Cell, grid_cells: Collection[Cell]) -> Job:
        """Training of a student.

        It reads the record of its teacher, if it has one, and of those of `grid_cells` that are the same training and come first.
        """
        files, same = self.layout.student_files(cell), trained_before(self.params, cell, grid_cells)
        inputs = {
            "stamp": self._stamp("student", cell.dataset, cell.pair, cell.method),
            "data": self._data(cell.dataset),
            "plan": (self.layout.plan(cell.dataset, cell.pair, cell.method, cell.budget),),
            "teacher": self.teacher_of(cell.dataset, cell.pair, cell.method),
            "same": tuple(self.layout.student_files(other).record for other in same),
            "gate": self._gate(cell.dataset, cell.pair),
        }
        outputs = {"record": files.record, "weights": files.weights, "ledger": files.ledger}
        return Job("student", _names(cell), inputs, outputs)

    def teacher_of(self, dataset: str, pair: str, method: str) -> Files:
        """Record of the teacher of a student; nothing if the method has no teacher."""
        if not self.params.has_teacher(method, dataset):
            return ()
        teacher = self.params.teacher_dataset(dataset), self.params.pair(pair).teacher
        return (self.layout.teacher_files(*teacher).record,)

    def evaluate(self, cell: Cell) -> Job:
        """Scoring of a student."""
        files, record = self.layout.student_scores(cell), self.layout.student_files(cell).record
        inputs = {"stamp": self._stamp("evaluate", cell.dataset), "data": self._data(cell.dataset), "record": (record,)}
        outputs = {"scores": files.scores, "confusion": files.confusion, "overlays": files.overlays}
        return Job("evaluate", _names(cell), inputs, outputs)

    def evaluate_teacher(self, dataset: str, model: str) -> Job:
        """Scoring of a teacher."""
        files, record = self.layout.teacher_scores(dataset, model), self.layout.teacher_files(dataset, model).record
        inputs = {"stamp": self._stamp("evaluate_teacher", dataset), "data": self._data(dataset), "record": (record,)}
        outputs = {"scores": files.scores, "confusion": files.confusion, "overlays": files.overlays}
        return Job("evaluate_teacher", {"dataset": dataset, "model": model}, inputs, outputs)

    def _gate(self, dataset: str, pair: str) -> Files:
        mark = self.gates.get((dataset, pair))
        return () if mark is None else (mark,)

    def _stamp(self, verb: str, *parts: str) -> Files:
        return (self.layout.stamp(verb, *parts),)

    def _data(self, dataset: str) -> Files:
        return (self.layout.prepared_index(dataset),)


def _names(cell: Cell) -> dict[str, str]:
    return {key: str(value) for key, value in cell.as_dict().items()}
