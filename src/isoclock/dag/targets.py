"""What the workflow asks: which files a grid needs. Rules stay thin, and this can be tested without Snakemake."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isoclock.cluster.site import RUNTIME_FLOOR_MIN, Site, check_filled_in, exit_with, in_use
from isoclock.errors import ArtifactError, UserError
from isoclock.files import sha256_json
from isoclock.grid.cells import Cell, cells, datasets_needed, profiles_needed, teachers_needed, trained_before
from isoclock.grid.layout import Layout
from isoclock.grid.stamps import add_missing, budget_stamp, refresh
from isoclock.params.check import load_params
from isoclock.params.load import Params
from isoclock.records.document import read
from isoclock.records.plan import AcceptedBudget, Plan

DEFAULT_GRID = "demo"
CONFIG_KEYS = ("grid", "method")
SNAKEMAKES_LOCKS = Path(".snakemake/locks")  # files are in it while a Snakemake works here, and after one was killed
RUNTIME_MARGIN = 1.5  # over planned seconds: evaluations, checkpoints and a slower node
# Minutes of work of a job about which no plan tells. A teacher's steps are not profiled, and a student's plan is not there yet
# when the workflow is read for the first time: a day, in as many jobs as the cluster's limit makes of it.
ASSUMED_MIN = {"teacher": 1440, "student": 1440, "profile": 60, "evaluate": 60}


# No repr: Snakemake looks for odd paths in the text of an input function, and of what it is bound to.
@dataclass(frozen=True, repr=False)
class Study:
    """A grid of one study folder. Paths are strings, as Snakemake has them."""

    params: Params
    grid: str
    cells: list[Cell]
    layout: Layout
    site: Site | None = None  # of the cluster that jobs are submitted to from this process, if any

    @classmethod
    def open(cls, config: Mapping[str, Any]) -> Study:
        """Check params/, write stamps where they changed, and give the grid named by `config`.

        While a Snakemake works in this folder its stamps stay as they are: another start beside it, and its own jobs, change
        nothing under it.

        `method` in `config` keeps the cells of one method only. For the user's mistakes it prints one line each and
        exits with status 2: a workflow engine would wrap them in a traceback.
        """
        try:
            unknown = sorted(set(config) - set(CONFIG_KEYS))
            if unknown:
                raise UserError(f"--config {unknown[0]}: unknown key; there are: {', '.join(CONFIG_KEYS)}")
            params, layout, grid = load_params(), Layout(), str(config.get("grid", DEFAULT_GRID))
            if any(SNAKEMAKES_LOCKS.glob("*.lock")):
                _leave_stamps(params, grid, layout)
            else:
                refresh(params, grid, layout)
            study = cls(params, grid, cells(params, grid), layout, in_use())
            return study if "method" not in config else study._only(str(config["method"]))
        except UserError as error:
            exit_with(error)

    def check_site(self) -> None:
        """Before the first job: ends the process with a line and status 2 if the cluster's values are not filled in."""
        try:
            check_filled_in(self.site)
        except UserError as error:
            exit_with(error)

    def _only(self, method: str) -> Study:
        self.params.method(method)
        kept = [cell for cell in self.cells if cell.method == method]
        if not kept:
            raise UserError(f"--config method={method}: grid {self.grid} has no cell of it")
        return replace(self, cells=kept)

    def prepared(self) -> list[str]:
        """Index of every prepared data set of the grid, those of its teachers included."""
        return _paths(self.layout.prepared(name) / "index.json" for name in datasets_needed(self.params, self.cells))

    def teachers(self) -> list[str]:
        """Record of every teacher of the grid."""
        return _paths(self.layout.teacher(*one) / "record.json" for one in teachers_needed(self.params, self.cells))

    def teacher_scores(self) -> list[str]:
        """Scores of every teacher of the grid."""
        return _paths(self.layout.teacher(*one) / "scores.json" for one in teachers_needed(self.params, self.cells))

    def profiles(self) -> list[str]:
        """Profile of every method of the grid, yardsticks included."""
        return _paths(self.layout.profile(*needed) for needed in profiles_needed(self.params, self.grid))

    def plans(self) -> list[str]:
        """Plan of every method and budget."""
        return _paths(self.layout.plan(cell.dataset, cell.pair, cell.method, cell.budget) for cell in self.cells)

    def students(self) -> list[str]:
        """Record of every student."""
        return _paths(self.layout.student(cell) / "record.json" for cell in self.cells)

    def evaluations(self) -> list[str]:
        """Scores of every student."""
        return _paths(self.layout.evaluation(cell) / "scores.json" for cell in self.cells)

    def report(self) -> str:
        """The report's page."""
        return str(self.layout.report(self.grid) / "report.html")

    def syncs(self) -> list[str]:
        """Marks that MLflow was brought up to date after each stage that gives it something."""
        return [f"results/sync/{self.grid}/{stage}.done" for stage in ("teacher", "student", "evaluate")]

    def synced_after(self, wildcards: Any) -> list[str]:
        """What a stage makes, so that a sync comes after it."""
        stages = {
            "teacher": self.teacher_scores() + self.profiles(),
            "student": self.students(),
            "evaluate": self.evaluations(),
        }
        return stages[wildcards.stage]

    def teacher_of(self, wildcards: Any) -> list[str]:
        """Record of the teacher of a cell; none where it learns from nobody, so that it need not wait for one."""
        if not self.params.has_teacher(wildcards.method, wildcards.dataset):
            return []
        dataset = self.params.teacher_dataset(wildcards.dataset)
        return _paths([self.layout.teacher(dataset, self.params.pair(wildcards.pair).teacher) / "record.json"])

    def trained_before(self, wildcards: Any) -> list[str]:
        """Record of the cell of this grid that is the same training as a yardstick's compute-matched cell; none for others."""
        cell = Cell(wildcards.dataset, wildcards.pair, wildcards.method, wildcards.budget, int(wildcards.seed))
        before = trained_before(self.params, cell, self.cells)
        return _paths(self.layout.student(other) / "record.json" for other in before)

    def yardstick_profile(self, wildcards: Any) -> list[str]:
        """Profile that a budget is resolved with; none for a budget in anchor-steps or iterations."""
        yardstick = self.params.budget(wildcards.budget).yardstick
        return [] if yardstick is None else [str(self.layout.profile(wildcards.dataset, wildcards.pair, yardstick))]

    def is_to_be_resolved(self, wildcards: Any) -> bool:
        """Whether an accepted budget is there, and is of another entry, recipe or protocol version than is asked for now."""
        where = (wildcards.dataset, wildcards.pair, wildcards.budget)
        accepted = self.layout.accepted_budget(*where)
        if not accepted.is_file():
            return False
        try:
            entry_digest = read(accepted, AcceptedBudget, "plan").entry
        except ArtifactError:
            return True
        return entry_digest != sha256_json(budget_stamp(self.params, *where))

    def threads(self, dataset: str, role: str) -> int:
        """CPU threads of a training process and its loader's workers."""
        recipe = self.params.recipe(dataset, role)
        return recipe.threads + recipe.workers

    def student_runtime_min(self, plan: str) -> int:
        """Minutes to ask for, for a student's job: its plan's, or the longest job of the cluster if that is less.

        Raises FileNotFoundError where the plan is not there yet, by which Snakemake knows to ask later.
        """
        return self._job_min(_planned_min(Path(plan)))

    def runtime_min(self, rule: str) -> int:
        """Minutes to ask for, for a job of a rule that no plan tells of."""
        return self._job_min(ASSUMED_MIN[rule])

    def retries(self, rule: str) -> int | None:
        """How often a job of `rule` (teacher or student) is submitted again: the jobs that its run takes, and some to spare.

        None where no cluster is in use: the profile's or the command line's number holds then, and within a job none at all.
        """
        if self.site is None:
            return None
        work = [ASSUMED_MIN[rule]]
        if rule == "student":
            plans = [Path(plan) for plan in self.plans()]
            work = [_planned_min(plan) if plan.is_file() else ASSUMED_MIN[rule] for plan in plans]
        return self.site.jobs_needed(max(work)) + self.site.spare_retries

    def _job_min(self, work_min: int) -> int:
        return max(RUNTIME_FLOOR_MIN, work_min) if self.site is None else self.site.job_min(work_min)

    @property
    def study_option(self) -> str:
        """`--study` for the jobs of a study grid.

        Rules ask for it in a function that takes `resources`: Snakemake does not compare such a parameter with the last run's, and
        another grid with the same teacher does not train it again.
        """
        return "--study" if self.is_study else ""

    @property
    def is_study(self) -> bool:
        """Whether marked profiles are refused."""
        return self.params.grid(self.grid).study


def _leave_stamps(params: Params, grid: str, layout: Layout) -> None:
    if changed := add_missing(params, grid, layout):
        print(
            f"isoclock: {changed[0]}{f' and {len(changed) - 1} more' if len(changed) > 1 else ''}: params/ or code changed, and "
            "a Snakemake works here: that counts once it has ended (or after `snakemake --unlock`, if it was killed)",
            file=sys.stderr,
        )


def _planned_min(plan: Path) -> int:
    plan.stat()  # raises FileNotFoundError where the plan is not there yet
    try:
        planned_s = read(plan, Plan, "plan").planned_s
    except ArtifactError:  # the plan is made again before the job starts, or the job reports the error
        return ASSUMED_MIN["student"]
    return math.ceil(planned_s * RUNTIME_MARGIN / 60)


def _paths(found: Any) -> list[str]:
    return list(dict.fromkeys(str(path) for path in found))
