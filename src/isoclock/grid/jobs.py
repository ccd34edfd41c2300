"""All jobs of a grid, and the rules that read a whole grid: report and sync."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import starmap
from pathlib import Path

from isoclock.grid.cells import Cell, cells, datasets_needed, profiles_needed, teachers_needed
from isoclock.grid.dependencies import Files, Job, Rules
from isoclock.grid.layout import Layout
from isoclock.params.load import Params
from isoclock.params.variants import whole_dataset

SYNC_STAGES = ("teacher", "student", "evaluate")


@dataclass(frozen=True)
class GridJobs:
    """The jobs of a grid, or of some of its cells. Profiles are those of the whole grid, yardsticks included."""

    params: Params
    grid: str
    cells: list[Cell]
    layout: Layout

    @classmethod
    def of_grid(cls, params: Params, grid: str, layout: Layout) -> GridJobs:
        """The jobs of all cells of a grid. Raises ParamsError for an unknown grid."""
        return cls(params, grid, cells(params, grid), layout)

    @cached_property
    def rules(self) -> Rules:
        """What each job reads and writes."""
        return Rules(self.params, self.layout, self.gates)

    @cached_property
    def gates(self) -> dict[tuple[str, str], Path]:
        """Marks of the pairs whose teacher is scored before anything is measured or trained, by data set and pair.

        These are the pairs with a `teacher_miou_at_least` in the grid, and those whose teacher is imported.
        """
        demanded, pairs = self.params.grid(self.grid).teacher_miou_at_least, self.params.pairs
        return {
            (dataset, pair): self.layout.gate_mark(self.grid, dataset, pair)
            for dataset, pair, _method in profiles_needed(self.params, self.grid)
            if pair in demanded.get(whole_dataset(dataset), {}) or self.params.is_imported(pairs[pair].teacher)
        }

    def teacher_gate(self, dataset: str, pair: str) -> Job:
        """Comparing the score of a pair's teacher with what the grid demands."""
        teacher = self.params.teacher_dataset(dataset), self.params.pair(pair).teacher
        inputs = {"scores": (self.layout.teacher_scores(*teacher).scores,)}
        wildcards = {"grid": self.grid, "dataset": dataset, "pair": pair}
        return Job("teacher_gate", wildcards, inputs, {"mark": self.layout.gate_mark(**wildcards)})

    @cached_property
    def known(self) -> frozenset[Cell]:
        """The cells, for looking one up."""
        return frozenset(self.cells)

    def all(self) -> Iterator[Job]:
        """Every job, in the order of the rules."""
        for jobs in self._by_rule.values():
            yield from jobs()

    def of(self, rule: str) -> list[Job]:
        """The jobs of a rule. Raises KeyError for an unknown rule."""
        return list(self._by_rule[rule]())

    def outputs(self, rule: str) -> Files:
        """The first output of every job of a rule, such as the record of every student."""
        if rule not in self._outputs:
            self._outputs[rule] = tuple(next(iter(job.outputs.values())) for job in self.of(rule))
        return self._outputs[rule]

    def report(self) -> Job:
        """The report about the grid."""
        inputs = {
            "stamp": (self.layout.stamp("grid", self.grid),),
            "students": self.outputs("student"),
            "scores": self.outputs("evaluate"),
            "profiles": self.outputs("profile"),
            "plans": self.outputs("plan"),
            "teachers": self.outputs("evaluate_teacher"),
        }
        folder, page = self.layout.report(self.grid), self.layout.report_page(self.grid)
        tables = {name: folder / f"{name}.csv" for name in ("comparison", "cells")}
        return Job("report", {"grid": self.grid}, inputs, {"page": page, **tables, "figures": folder / "figures"})

    def sync(self, stage: str) -> Job:
        """Bringing MLflow up to date after a stage, one of `SYNC_STAGES`."""
        after = self.outputs(stage)
        if stage == "teacher":
            after = self.outputs("evaluate_teacher") + self.outputs("profile")
        mark = self.layout.sync_mark(self.grid, stage)
        return Job("sync", {"grid": self.grid, "stage": stage}, {"after": after}, {"mark": mark})

    @cached_property
    def _outputs(self) -> dict[str, Files]:
        return {}  # by rule: the report and each sync ask for those of every cell

    @cached_property
    def _by_rule(self) -> dict[str, Callable[[], Iterable[Job]]]:
        params, found, rules, known = self.params, self.cells, self.rules, self.known
        return {
            "prepare": lambda: map(rules.prepare, datasets_needed(params, found)),
            "teacher": lambda: starmap(rules.teacher, teachers_needed(params, found)),
            "evaluate_teacher": lambda: starmap(rules.evaluate_teacher, teachers_needed(params, found)),
            "teacher_gate": lambda: starmap(self.teacher_gate, self.gates),
            "profile": lambda: starmap(rules.profile, profiles_needed(params, self.grid)),
            "budget": lambda: starmap(rules.budget, dict.fromkeys((c.dataset, c.pair, c.budget) for c in found)),
            "plan": lambda: starmap(rules.plan, dict.fromkeys((c.dataset, c.pair, c.method, c.budget) for c in found)),
            "student": lambda: (rules.student(cell, known) for cell in found),
            "evaluate": lambda: map(rules.evaluate, found),
            "report": lambda: (self.report(),),
            "sync": lambda: map(self.sync, SYNC_STAGES),
        }
