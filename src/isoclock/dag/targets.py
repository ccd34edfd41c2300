"""The files that the workflow makes for a grid, and the input functions of its rules. Testable without Snakemake."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from isoclock.cluster.site import Site, check_filled_in, exit_with
from isoclock.dag.resources import JobResources
from isoclock.errors import ArtifactError, UserError
from isoclock.files import sha256_json
from isoclock.grid.cells import Cell
from isoclock.grid.dependencies import Job
from isoclock.grid.jobs import GridJobs
from isoclock.grid.stamps import budget_stamp
from isoclock.params.variants import without_factor
from isoclock.records.document import read
from isoclock.records.plan import AcceptedBudget


# No repr: Snakemake looks for odd paths in the text of an input function, and of the object it is bound to.
@dataclass(frozen=True, repr=False)
class GridTargets:
    """The targets of a grid. Paths are strings, as Snakemake has them."""

    jobs: GridJobs
    site: Site | None = None  # of the cluster that this process submits jobs to, if any

    def of_method(self, method: str) -> GridTargets:
        """The targets of the cells of one method, with any factor unless it names one. Raises UserError if the grid has none."""
        self.jobs.params.method(method)
        kept = [cell for cell in self.jobs.cells if method in (cell.method, without_factor(cell.method))]
        if not kept:
            raise UserError(f"--config method={method}: grid {self.grid} has no cell of this method")
        return replace(self, jobs=replace(self.jobs, cells=kept))

    def check_site(self) -> None:
        """Before the first job: print a line and exit with status 2 if the cluster's values are not filled in."""
        try:
            check_filled_in(self.site)
        except UserError as error:
            exit_with(error)

    @property
    def grid(self) -> str:
        """Name of the grid."""
        return self.jobs.grid

    @cached_property
    def resources(self) -> JobResources:
        """What the jobs request."""
        return JobResources(self.jobs.params, self.outputs("plan"), self.site)

    def outputs(self, rule: str) -> list[str]:
        """The main output of every job of a rule, such as the record of every student."""
        return _strings(self.jobs.outputs(rule))

    def synced_after(self, wildcards: Any) -> list[str]:
        """The outputs of a stage, which a sync waits for."""
        return _strings(self.jobs.sync(wildcards.stage).inputs["after"])

    def teacher_of(self, wildcards: Any) -> list[str]:
        """Record of a student's teacher. Empty if its method has none, so that it does not wait for one."""
        return _strings(self.jobs.rules.teacher_of(wildcards.dataset, wildcards.pair, wildcards.method))

    def gate(self, wildcards: Any, checkpoints: Any = None) -> list[str]:
        """What a profile or a student waits for: the mark that the teacher of its pair scored enough. Empty without a gate.

        With Snakemake's `checkpoints` it waits, and then returns no file. So the mark is not among the recorded inputs of a
        result: other grids share it, and a teacher that is scored again makes nothing again.
        """
        where = wildcards.dataset, wildcards.pair
        if (mark := self.jobs.gates.get(where)) is None:
            return []
        if checkpoints is None:
            return [str(mark)]
        checkpoints.teacher_gate.get(grid=self.grid, dataset=wildcards.dataset, pair=wildcards.pair)
        return []

    def gated_scores(self, wildcards: Any) -> list[str]:
        """Scores of a pair's teacher, which its gate reads."""
        return _strings(self.jobs.teacher_gate(wildcards.dataset, wildcards.pair).inputs["scores"])

    def trained_before(self, wildcards: Any) -> list[str]:
        """Record of the cell of this grid that is the same training as a yardstick's compute-matched cell. Else empty."""
        cell = Cell(wildcards.dataset, wildcards.pair, wildcards.method, wildcards.budget, int(wildcards.seed))
        return _strings(self.jobs.rules.student(cell, self.jobs.known).inputs["same"])

    def profile_of(self, wildcards: Any) -> list[str]:
        """Profile that a plan reads: that of its method without a factor of the weights."""
        return [str(self.jobs.layout.profile(wildcards.dataset, wildcards.pair, wildcards.method))]

    def yardstick_profile(self, wildcards: Any) -> list[str]:
        """Profile that a budget is resolved with. Empty for a budget in anchor-steps or iterations."""
        return _strings(self._budget(wildcards).inputs["yardstick"])

    def is_to_be_resolved(self, wildcards: Any) -> bool:
        """Whether there is an accepted budget of another entry, recipe or protocol version than the current one."""
        accepted = self._budget(wildcards).outputs["accepted"]
        if not accepted.is_file():
            return False
        try:
            entry_digest = read(accepted, AcceptedBudget, "plan").entry
        except ArtifactError:
            return True
        stamp = budget_stamp(self.jobs.params, wildcards.dataset, wildcards.pair, wildcards.budget)
        return entry_digest != sha256_json(stamp)

    @property
    def study_option(self) -> str:
        """`--study` for the jobs of a study grid.

        Rules call it in a function that takes `resources`: Snakemake does not compare such a parameter with the last run's,
        so that another grid with the same teacher does not train it again.
        """
        return "--study" if self.is_study else ""

    @property
    def is_study(self) -> bool:
        """Whether marked profiles are refused."""
        return self.jobs.params.grid(self.grid).study

    def _budget(self, wildcards: Any) -> Job:
        return self.jobs.rules.budget(wildcards.dataset, wildcards.pair, wildcards.budget)


def _strings(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in paths]
