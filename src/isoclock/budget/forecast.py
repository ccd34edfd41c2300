"""What a grid takes, before anything is spent: jobs and device hours by stage. Needs no prepared data and no GPU.

Times are measured where there is a profile, and estimated from FLOPs and a rate elsewhere; each row says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose
from pathlib import Path

from isoclock.budget.forecast_rows import ARITHMETIC, UNKNOWN, Forecast, ForecastRow
from isoclock.budget.step_cost import ESTIMATED, MEASURED, StepCosts
from isoclock.grid.cells import Cell, cells, datasets_needed, profiles_needed, teachers_needed, trained_before
from isoclock.grid.layout import Layout
from isoclock.params.load import Params
from isoclock.params.tuning import SWEEP, before_choice
from isoclock.protocol import VERSION
from isoclock.records.index import Index, Samples
from isoclock.records.results import Results

_HOUR_S = 3600.0


def forecast(params: Params, grid: str, layout: Layout, *, tflops: float | None = None) -> Forecast:
    """Jobs and hours of every stage of a grid. `tflops` overrides every measured rate where times are estimated.

    Weights that are to be tuned need not be chosen yet: costs do not depend on them.

    Raises ParamsError for an unknown grid, ArtifactError with all problems for profiles, records or an index that are damaged.
    """
    forecaster = _Forecaster(before_choice(params, grid), grid, layout, tflops)
    found = forecaster.all()
    forecaster.costs.flops.save()
    forecaster.results.check()
    return found


class _Forecaster:
    """One grid's arithmetic; what several rows need is worked out once."""

    def __init__(self, params: Params, grid: str, layout: Layout, tflops: float | None) -> None:
        self.params, self.grid, self.layout, self.results = params, grid, layout, Results(layout)
        self.cells = cells(params, grid)
        self.needed = profiles_needed(params, grid)
        self.costs = StepCosts(params, self.results, self.needed, tflops)
        self.of_pair: dict[tuple[str, str], list[Cell]] = {}
        for cell in self.cells:
            self.of_pair.setdefault((cell.dataset, cell.pair), []).append(cell)
        self.in_grid = frozenset(self.cells)
        self.datasets = datasets_needed(params, self.cells)

    def all(self) -> Forecast:
        rows = [
            *self.prepare(),
            *self.teachers(),
            *self.profiles(),
            *self.plans(),
            *self.students(),
            *self.evaluations(),
        ]
        rate, source = self.costs.rate
        notes = [
            "GB of packed images, weights and checkpoints; losses with networks of their own, logs and overlays take more"
        ]
        if self.costs.uncounted:
            notes.append(
                f"losses of {', '.join(self.costs.uncounted)} are not in the estimate (they look at values): these cost more"
            )
        if any(row.made for row in rows):
            notes.append("made: there is an output; `snakemake -n` shows whether it is up to date")
        if any(row.hours is None for row in rows):
            notes.append("not known: the number of images is known once the data are prepared")
        if self.params.grid(self.grid).tune is not None:
            notes.append(f"without tuning, which --grid {self.grid}{SWEEP} forecasts")
        return Forecast(self.grid, tuple(rows), rate / 1e12, source, tuple(notes))

    def prepare(self) -> list[ForecastRow]:
        return [
            self._row(
                "prepare", dataset, [self.layout.prepared_index(dataset)], 0.0, ARITHMETIC, self._packed_gb(dataset)
            )
            for dataset in self.datasets
        ]

    def _packed_gb(self, dataset: str) -> float | None:
        """GB of a data set that is prepared; None for another."""
        index = self.results.document(self.layout.prepared_index(dataset), Index, f"prepare {dataset}")
        if index is None:
            return None
        return sum(file.bytes for split in index.splits.values() for file in split.files.values()) / 1e9

    def teachers(self) -> list[ForecastRow]:
        rows = []
        for dataset, model in teachers_needed(self.params, self.cells):
            recipe = self.params.recipe(dataset, "teacher")
            record = self.results.teacher_record(dataset, model)
            if self.params.model(model).checkpoint is not None:
                step_s, basis = 0.0, ARITHMETIC  # it is imported
            elif record is not None and record.iterations.done:
                step_s, basis = record.clock.train_s / record.iterations.done, MEASURED
            else:
                step_s, basis = self.costs.teacher_step_s(recipe, dataset, model), ESTIMATED
            output = self.layout.teacher_files(dataset, model).record
            seconds, gb = (recipe.iterations or 0) * step_s, self.costs.training_gb(dataset, model)
            rows.append(self._row("teacher", f"{dataset}/{model}", [output], seconds, basis, gb))
        return rows

    def profiles(self) -> list[ForecastRow]:
        rows = []
        needed: dict[tuple[str, str], list[str]] = {}
        for dataset, pair, method in self.needed:
            needed.setdefault((dataset, pair), []).append(method)
        for (dataset, pair), methods in needed.items():
            outputs = [self.layout.profile(dataset, pair, method) for method in methods]
            settings, each = self.params.profile_settings(pair), []
            windows = settings.min_windows + 2  # and the warm-up
            for method in methods:
                cost = self.costs.of(dataset, pair, method)
                seconds = [max(settings.window_s, step_s) for step_s in (cost.step_s, cost.anchor_s)]
                alone = 2 * seconds[0] + 5 * cost.step_s + max(settings.sustained_s, cost.step_s)  # shares, memory
                each.append(windows * sum(seconds) + alone)
            rows.append(
                self._row("profile", f"{dataset}/{pair}", outputs, each, self.costs.basis(dataset, pair, methods))
            )
        return rows

    def plans(self) -> list[ForecastRow]:
        rows = []
        for (dataset, pair), mine in self.of_pair.items():
            outputs = [self.layout.accepted_budget(dataset, pair, cell.budget) for cell in mine]
            outputs += [self.layout.plan(dataset, pair, cell.method, cell.budget) for cell in mine]
            rows.append(self._row("plan", f"{dataset}/{pair}", list(dict.fromkeys(outputs)), 0.0, ARITHMETIC))
        return rows

    def students(self) -> list[ForecastRow]:
        rows = []
        for (dataset, pair), mine in self.of_pair.items():
            outputs = [self.layout.student_files(cell).record for cell in mine]
            basis = self.costs.basis(dataset, pair, [cell.method for cell in mine])
            each_s = [0.0 if self._is_taken_over(cell) else self._training_s(cell) for cell in mine]
            gb = len(mine) * self.costs.training_gb(dataset, self.params.pair(pair).student)
            rows.append(self._row("student", f"{dataset}/{pair}", outputs, each_s, basis, gb))
        return rows

    def _is_taken_over(self, cell: Cell) -> bool:
        """Whether a cell is the same training as another one of the grid, which comes first: as long, to rounding."""
        others = trained_before(self.params, cell, self.in_grid)
        return any(isclose(self._training_s(other), self._training_s(cell)) for other in others)

    def evaluations(self) -> list[ForecastRow]:
        """The validations of each training, which are off the train clock; the last one is taken over as its scores."""
        rows = []
        for dataset, model in teachers_needed(self.params, self.cells):
            outputs = [self.layout.teacher_scores(dataset, model).scores]
            rows.append(self._scores(dataset, model, "teacher", model, outputs))
        for (dataset, pair), mine in self.of_pair.items():
            outputs = [self.layout.student_scores(cell).scores for cell in mine]
            rows.append(self._scores(dataset, pair, "student", self.params.pair(pair).student, outputs))
        return rows

    def _scores(self, dataset: str, name: str, role: str, model: str, outputs: Sequence[Path]) -> ForecastRow:
        images = self._scored(dataset)
        if images is None:
            return self._row("evaluate", f"{dataset}/{name}", outputs, None, UNKNOWN)
        count, size = images
        recipe = self.params.recipe(dataset, role)
        seconds = max(1, recipe.evaluations) * count * self.costs.scoring_s(recipe, dataset, model, size)
        return self._row("evaluate", f"{dataset}/{name}", outputs, seconds, ESTIMATED)

    def _row(
        self,
        stage: str,
        where: str,
        outputs: Sequence[Path],
        seconds: float | Sequence[float] | None,
        basis: str,
        gb: float | None = 0.0,
    ) -> ForecastRow:
        made = [path.is_file() for path in outputs]
        hours = left = None
        if seconds is not None:
            each = [seconds] * len(outputs) if isinstance(seconds, float | int) else list(seconds)
            hours = sum(each) / _HOUR_S
            left = sum(s for s, done in zip(each, made, strict=True) if not done) / _HOUR_S
        return ForecastRow(stage, where, len(outputs), sum(made), hours, left, basis, gb)

    def _training_s(self, cell: Cell) -> float:
        """Seconds on the train clock of one student."""
        budget, cost = self.params.budget(cell.budget), self.costs.of(cell.dataset, cell.pair, cell.method)
        if budget.protocol == "iteration":
            return (budget.iterations or 0) * cost.step_s + cost.pretraining_s
        accepted = self.results.accepted_budget(cell.dataset, cell.pair, cell.budget)
        if accepted is not None and accepted.protocol_version == VERSION and accepted.anchor_steps is not None:
            return accepted.anchor_steps * cost.anchor_s
        if budget.anchor_steps is not None:
            return budget.anchor_steps * cost.anchor_s
        assert budget.yardstick is not None
        yardstick = self.costs.of(cell.dataset, cell.pair, budget.yardstick)
        return (budget.iterations or 0) * yardstick.step_s + yardstick.pretraining_s

    def _scored(self, dataset: str) -> tuple[int, tuple[int, int]] | None:
        """How many images are scored, and the size of the middle one; None where they are not prepared."""
        folder, path = self.layout.prepared(dataset), self.layout.prepared_index(dataset)
        index = self.results.document(path, Index, f"prepare {dataset}")
        if index is None or "val" not in index.splits:
            return None
        # Not `PackedSplit`, which imports OpenCV.
        samples = self.results.document(
            folder / index.splits["val"].files["samples"].file, Samples, f"prepare {dataset}"
        )
        if samples is None or not samples.sizes:
            return None
        height, width = sorted(samples.sizes, key=lambda size: size[0] * size[1])[len(samples.sizes) // 2]
        return len(samples.sizes), (height, width)
