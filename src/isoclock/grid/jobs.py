"""All jobs of a grid, and the rules that read a whole grid: report and sync."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from isoclock.grid.cells import Cell, cells, datasets_needed, profiles_needed, teachers_needed
from isoclock.grid.dependencies import Files, Job, Rules
from isoclock.grid.layout import Layout
from isoclock.params.load import Params

SYNC_STAGES = ("teacher", "student", "evaluate")


@dataclass(frozen=True)
class GridJobs:
    """The jobs of a grid, or of some of its cells."""

    params: Params
    grid: str
    cells: list[Cell]
    layout: Layout

    @classmethod
    def of(cls, params: Params, grid: str, layout: Layout) -> GridJobs:
        """The jobs of all cells of a grid. Raises ParamsError for an unknown grid."""
        return cls(params, grid, cells(params, grid), layout)

    @cached_property
    def rules(self) -> Rules:
        """What each job reads and writes."""
        return Rules(self.params, self.layout)

    def all(self) -> Iterator[Job]:
        """Every job, those of one rule side by side."""
        yield from self.prepared()
        yield from self.teachers()
        yield from self.teacher_evaluations()
        yield from self.profiles()
        yield from self.budgets()
        yield from self.plans()
        yield from self.students()
        yield from self.evaluations()
        yield self.report()
        yield from map(self.sync, SYNC_STAGES)

    def prepared(self) -> list[Job]:
        """Packing of every data set, those of the teachers included."""
        return [self.rules.prepare(dataset) for dataset in datasets_needed(self.params, self.cells)]

    def teachers(self) -> list[Job]:
        """Training of every teacher."""
        return [self.rules.teacher(*one) for one in teachers_needed(self.params, self.cells)]

    def teacher_evaluations(self) -> list[Job]:
        """Scoring of every teacher."""
        return [self.rules.evaluate_teacher(*one) for one in teachers_needed(self.params, self.cells)]

    def profiles(self) -> list[Job]:
        """Profile of every method of the whole grid, yardsticks included."""
        return [self.rules.profile(*one) for one in profiles_needed(self.params, self.grid)]

    def budgets(self) -> list[Job]:
        """Resolving every budget."""
        return [
            self.rules.budget(*one)
            for one in dict.fromkeys((cell.dataset, cell.pair, cell.budget) for cell in self.cells)
        ]

    def plans(self) -> list[Job]:
        """Plan of every method and budget."""
        return [
            self.rules.plan(*one)
            for one in dict.fromkeys((cell.dataset, cell.pair, cell.method, cell.budget) for cell in self.cells)
        ]

    def students(self) -> list[Job]:
        """Training of every student."""
        known = frozenset(self.cells)
        return [self.rules.student(cell, known) for cell in self.cells]

    def evaluations(self) -> list[Job]:
        """Scoring of every student."""
        return [self.rules.evaluate(cell) for cell in self.cells]

    def report(self) -> Job:
        """The report about the grid."""
        inputs = {
            "stamp": (self.layout.stamp("grid", self.grid),),
            "students": _outputs(self.students(), "record"),
            "scores": _outputs(self.evaluations(), "scores"),
            "profiles": _outputs(self.profiles(), "profile"),
            "plans": _outputs(self.plans(), "plan"),
            "teachers": _outputs(self.teacher_evaluations(), "scores"),
        }
        outputs = {"page": self.layout.report_page(self.grid)}
        return Job("report", {"grid": self.grid}, inputs, outputs, self.layout.log("report", self.grid))

    def sync(self, stage: str) -> Job:
        """Bringing MLflow up to date after a stage. Raises KeyError if `stage` is none of `SYNC_STAGES`."""
        read = {
            "teacher": _outputs(self.teacher_evaluations(), "scores") + _outputs(self.profiles(), "profile"),
            "student": _outputs(self.students(), "record"),
            "evaluate": _outputs(self.evaluations(), "scores"),
        }[stage]
        wildcards, log = {"grid": self.grid, "stage": stage}, self.layout.log("sync", self.grid, stage)
        return Job("sync", wildcards, {"after": read}, {"mark": self.layout.sync_mark(self.grid, stage)}, log)


def _outputs(jobs: Iterable[Job], key: str) -> Files:
    return tuple(job.outputs[key] for job in jobs)
