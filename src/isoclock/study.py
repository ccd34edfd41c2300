"""What the workflow asks: which files a grid needs. Rules stay thin, and this can be tested without Snakemake."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isoclock.checks import load_params
from isoclock.errors import EXIT_USER_ERROR, UserError
from isoclock.grid import Cell, Layout, cells, profiles_needed
from isoclock.params import Params
from isoclock.stamps import refresh

DEFAULT_GRID = "demo"
CONFIG_KEYS = ("grid", "method")
RUNTIME_MARGIN = 1.5  # over planned seconds: evaluations, checkpoints and a slower node
RUNTIME_FLOOR_MIN = 10


@dataclass(frozen=True)
class Study:
    """A grid of one study folder. Paths are strings, as Snakemake has them."""

    params: Params
    grid: str
    cells: list[Cell]
    layout: Layout

    @classmethod
    def open(cls, config: Mapping[str, Any]) -> Study:
        """Check params/, write stamps where they changed, and give the grid named by `config`.

        `method` in `config` keeps the cells of one method only. For the user's mistakes it prints one line each and
        exits with status 2: a workflow engine would wrap them in a traceback.
        """
        try:
            unknown = sorted(set(config) - set(CONFIG_KEYS))
            if unknown:
                raise UserError(f"--config {unknown[0]}: unknown key; there are: {', '.join(CONFIG_KEYS)}")
            params, layout, grid = load_params(), Layout(), str(config.get("grid", DEFAULT_GRID))
            refresh(params, grid, layout)
            study = cls(params, grid, cells(params, grid), layout)
            return study if "method" not in config else study._only(str(config["method"]))
        except UserError as error:
            for problem in error.problems:
                print(f"isoclock: {problem}", file=sys.stderr)
            sys.exit(EXIT_USER_ERROR)

    def _only(self, method: str) -> Study:
        self.params.method(method)
        kept = [cell for cell in self.cells if cell.method == method]
        if not kept:
            raise UserError(f"--config method={method}: grid {self.grid} has no cell of it")
        return replace(self, cells=kept)

    def prepared(self) -> list[str]:
        """Index of every prepared data set of the grid."""
        return _paths(self.layout.prepared(cell.dataset) / "index.json" for cell in self.cells)

    def teachers(self) -> list[str]:
        """Record of every teacher of the grid."""
        return _paths(
            self.layout.teacher(cell.dataset, self.params.pair(cell.pair).teacher) / "record.json"
            for cell in self.cells
        )

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
            "teacher": self.teachers() + self.profiles(),
            "student": self.students(),
            "evaluate": self.evaluations(),
        }
        return stages[wildcards.stage]

    def teacher_of(self, wildcards: Any) -> str:
        """Record of the teacher of a cell."""
        return str(self.layout.teacher(wildcards.dataset, self.params.pair(wildcards.pair).teacher) / "record.json")

    def yardstick_profile(self, wildcards: Any) -> list[str]:
        """Profile that a budget is resolved with; none for a budget in anchor-steps or iterations."""
        yardstick = self.params.budget(wildcards.budget).yardstick
        return [] if yardstick is None else [str(self.layout.profile(wildcards.dataset, wildcards.pair, yardstick))]

    def threads(self, dataset: str, role: str) -> int:
        """CPU threads of a training process and its loader's workers."""
        recipe = self.params.recipe(dataset, role)
        return recipe.threads + recipe.workers

    def student_runtime_min(self, plan: str) -> int:
        """Minutes a student's job may take, from its plan. Raises FileNotFoundError, by which Snakemake knows to ask later."""
        planned_s = json.loads(Path(plan).read_text(encoding="utf-8"))["planned_s"]
        return max(RUNTIME_FLOOR_MIN, math.ceil(planned_s * RUNTIME_MARGIN / 60))

    @property
    def is_study(self) -> bool:
        """Whether marked profiles are refused."""
        return self.params.grid(self.grid).study


def _paths(found: Any) -> list[str]:
    return list(dict.fromkeys(str(path) for path in found))
