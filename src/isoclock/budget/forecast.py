"""What a grid will take, told before anything is spent: jobs and device hours by stage. Works with nothing prepared and no GPU.

Times are measured where a profile is there, and estimated from FLOPs and a rate elsewhere; each row says which.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoclock.data.packing.packed import INDEX, PackedSplit
from isoclock.data.readers.reader import find_reader
from isoclock.files import read_json
from isoclock.grid.cells import Cell, cells, datasets_needed, profiles_needed, teachers_needed, trained_before
from isoclock.grid.layout import Layout
from isoclock.params.load import Params
from isoclock.records.protocol import VERSION, version_of

if TYPE_CHECKING:
    from isoclock.budget.flops import StepFlops

ASSUMED_TFLOPS = 20.0
"""What a data-centre GPU makes of a dilated ResNet in bf16, in 1e12 operations a second: an order of magnitude, no more."""

STAGES = ("prepare", "teacher", "profile", "plan", "student", "evaluate")
MEASURED, ESTIMATED, ARITHMETIC, UNKNOWN = "measured", "from FLOPs", "no device", "not known"
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Row:
    """Jobs of a stage on one data set and pair. `hours` are of a device, of all jobs together, `made` ones included."""

    stage: str
    where: str
    jobs: int
    made: int  # whose output is there, whether up to date or not
    hours: float | None  # None: not known
    hours_left: float | None  # of those that are not made
    basis: str


@dataclass(frozen=True)
class Forecast:
    """Rows by stage; `tflops` is the rate that estimates were made with, `tflops_from` where it comes from."""

    grid: str
    rows: tuple[Row, ...]
    tflops: float
    tflops_from: str
    notes: tuple[str, ...] = field(default=())

    def of(self, stage: str) -> list[Row]:
        """The rows of a stage."""
        return [row for row in self.rows if row.stage == stage]

    def as_json(self) -> dict[str, Any]:
        """Everything, with sums by stage and over all; what is not known is left out of sums, and `complete` says so."""
        stages = {stage: _sums(self.of(stage)) for stage in STAGES}
        return {**asdict(self), "stages": stages, "total": _sums(self.rows)}


def forecast(params: Params, grid: str, layout: Layout, *, tflops: float | None = None) -> Forecast:
    """Jobs and hours of every stage of a grid. `tflops` stands above every measured rate where times are estimated.

    Raises ParamsError for an unknown grid, ArtifactError for a profile or index that cannot be read.
    """
    return _Forecaster(params, grid, layout, tflops).all()


def _sums(rows: Iterable[Row]) -> dict[str, Any]:
    rows = list(rows)
    return {
        "jobs": sum(row.jobs for row in rows),
        "made": sum(row.made for row in rows),
        "hours": sum(row.hours or 0.0 for row in rows),
        "hours_left": sum(row.hours_left or 0.0 for row in rows),
        "complete": all(row.hours is not None for row in rows),
    }


@dataclass(frozen=True)
class _Cost:
    """Seconds of an iteration, of the anchor's, and of all that comes before the first."""

    step_s: float
    anchor_s: float
    pretraining_s: float
    basis: str


class _Forecaster:
    """One grid's arithmetic; what several rows need is worked out once."""

    def __init__(self, params: Params, grid: str, layout: Layout, tflops: float | None) -> None:
        self.params, self.grid, self.layout, self.given = params, grid, layout, tflops
        self.cells = cells(params, grid)
        self.needed = profiles_needed(params, grid)
        self.pairs = list(dict.fromkeys((cell.dataset, cell.pair) for cell in self.cells))
        self.datasets = datasets_needed(params, self.cells)
        self._costs: dict[tuple[str, str, str], _Cost] = {}
        self.uncounted: dict[str, None] = {}

    def all(self) -> Forecast:
        rows = [
            *self.prepare(),
            *self.teachers(),
            *self.profiles(),
            *self.plans(),
            *self.students(),
            *self.evaluations(),
        ]
        rate, source = self.rate
        notes = []
        if self.uncounted:
            notes.append(
                f"losses of {', '.join(self.uncounted)} are not in the estimate (they look at values): these cost more"
            )
        if any(row.made for row in rows):
            notes.append("made: there is an output; whether it is up to date is told by snakemake -n")
        if any(row.hours is None for row in rows):
            notes.append("not known: nobody knows how many images there are before the raw data lie there")
        return Forecast(self.grid, tuple(rows), rate / 1e12, source, tuple(notes))

    def prepare(self) -> list[Row]:
        return [
            self._row("prepare", dataset, [self.layout.prepared(dataset) / INDEX], 0.0, ARITHMETIC)
            for dataset in self.datasets
        ]

    def teachers(self) -> list[Row]:
        from isoclock.budget import flops  # torch: not for those who only plan

        rows = []
        for dataset, model in teachers_needed(self.params, self.cells):
            recipe = self.params.recipe(dataset, "teacher")
            gflops = flops.training_gflops(recipe, self.params.model(model), self._classes(dataset))
            seconds = (recipe.iterations or 0) * self._estimated_s(gflops)
            record = self.layout.teacher(dataset, model) / "record.json"
            basis = ESTIMATED
            if record.is_file():
                told = read_json(record, "teacher")
                if done := told["iterations"]["done"]:
                    seconds, basis = told["clock"]["train_s"] / done * (recipe.iterations or 0), MEASURED
            rows.append(self._row("teacher", f"{dataset}/{model}", [record], seconds, basis))
        return rows

    def profiles(self) -> list[Row]:
        settings, rows = self.params.profile, []
        for dataset, pair in self.pairs:
            methods = [method for d, p, method in self.needed if (d, p) == (dataset, pair)]
            outputs = [self.layout.profile(dataset, pair, method) for method in methods]
            windows = settings.warmup_steps + settings.windows * settings.steps_per_window
            alone = 2 * settings.steps_per_window + settings.sustained_steps + 3  # shares, the sustained window, memory
            each = []
            for method in methods:
                cost = self._cost(dataset, pair, method)
                each.append(windows * (cost.step_s + cost.anchor_s) + alone * cost.step_s)
            rows.append(self._row("profile", f"{dataset}/{pair}", outputs, each, self._basis(dataset, pair, methods)))
        return rows

    def plans(self) -> list[Row]:
        rows = []
        for dataset, pair in self.pairs:
            mine = self._of(dataset, pair)
            outputs = [self.layout.accepted_budget(dataset, pair, cell.budget) for cell in mine]
            outputs += [self.layout.plan(dataset, pair, cell.method, cell.budget) for cell in mine]
            rows.append(self._row("plan", f"{dataset}/{pair}", list(dict.fromkeys(outputs)), 0.0, ARITHMETIC))
        return rows

    def students(self) -> list[Row]:
        rows = []
        for dataset, pair in self.pairs:
            mine = self._of(dataset, pair)
            outputs = [self.layout.student(cell) / "record.json" for cell in mine]
            basis = self._basis(dataset, pair, [cell.method for cell in mine])
            each_s = [0.0 if self._is_taken_over(cell) else self._training_s(cell) for cell in mine]
            rows.append(self._row("student", f"{dataset}/{pair}", outputs, each_s, basis))
        return rows

    def _is_taken_over(self, cell: Cell) -> bool:
        """Whether a cell is the same training as another one of the grid, which comes first: as long, to rounding."""
        others = trained_before(self.params, cell, self.cells)
        return any(isclose(self._training_s(other), self._training_s(cell)) for other in others)

    def evaluations(self) -> list[Row]:
        """The validations of each training, which are off the train clock; the last one is taken over as its scores."""
        rows = []
        for dataset, model in teachers_needed(self.params, self.cells):
            outputs = [self.layout.teacher(dataset, model) / "scores.json"]
            rows.append(self._scores(dataset, model, "teacher", model, outputs))
        for dataset, pair in self.pairs:
            outputs = [self.layout.evaluation(cell) / "scores.json" for cell in self._of(dataset, pair)]
            rows.append(self._scores(dataset, pair, "student", self.params.pair(pair).student, outputs))
        return rows

    def _scores(self, dataset: str, name: str, role: str, model: str, outputs: Sequence[Path]) -> Row:
        from isoclock.budget import flops

        images = self._scored(dataset)
        if images is None:
            return self._row("evaluate", f"{dataset}/{name}", outputs, None, UNKNOWN)
        count, size = images
        recipe = self.params.recipe(dataset, role)
        gflops = flops.scoring_gflops(self.params.model(model), self._classes(dataset), size, recipe.scoring)
        times = max(1, recipe.evaluations)
        return self._row("evaluate", f"{dataset}/{name}", outputs, times * count * self._estimated_s(gflops), ESTIMATED)

    def _row(
        self, stage: str, where: str, outputs: Sequence[Path], seconds: float | Sequence[float] | None, basis: str
    ) -> Row:
        made = [path.is_file() for path in outputs]
        hours = left = None
        if seconds is not None:
            each = [seconds] * len(outputs) if isinstance(seconds, float | int) else list(seconds)
            hours = sum(each) / _HOUR_S
            left = sum(s for s, done in zip(each, made, strict=True) if not done) / _HOUR_S
        return Row(stage, where, len(outputs), sum(made), hours, left, basis)

    def _of(self, dataset: str, pair: str) -> list[Cell]:
        return [cell for cell in self.cells if (cell.dataset, cell.pair) == (dataset, pair)]

    def _training_s(self, cell: Cell) -> float:
        """Seconds on the train clock of one student."""
        budget, cost = self.params.budget(cell.budget), self._cost(cell.dataset, cell.pair, cell.method)
        if budget.protocol == "iteration":
            return (budget.iterations or 0) * cost.step_s + cost.pretraining_s
        accepted = self.layout.accepted_budget(cell.dataset, cell.pair, cell.budget)
        if accepted.is_file() and version_of(told := read_json(accepted, "plan")) == VERSION:
            return float(told["anchor_steps"]) * cost.anchor_s
        if budget.anchor_steps is not None:
            return budget.anchor_steps * cost.anchor_s
        assert budget.yardstick is not None
        yardstick = self._cost(cell.dataset, cell.pair, budget.yardstick)
        return (budget.iterations or 0) * yardstick.step_s + yardstick.pretraining_s

    def _cost(self, dataset: str, pair: str, method: str) -> _Cost:
        key = (dataset, pair, method)
        if key not in self._costs:
            self._costs[key] = self._measured(key) or self._estimated(key)
        return self._costs[key]

    def _measured(self, key: tuple[str, str, str]) -> _Cost | None:
        if (profile := self._profiles.get(key)) is None:
            return None
        anchor_s, pretrain = profile["anchor_s"]["median"], profile.get("pretrain") or {"iterations": 0, "ratio": 0.0}
        pretraining_s = pretrain["iterations"] * pretrain["ratio"] * anchor_s
        return _Cost(profile["cost"]["ratio"] * anchor_s, anchor_s, pretraining_s, MEASURED)

    def _estimated(self, key: tuple[str, str, str]) -> _Cost:
        from isoclock.budget import flops

        dataset, pair, method = key
        recipe, entry, classes = self.params.recipe(dataset, "student"), self.params.pair(pair), self._classes(dataset)
        student, teacher = self.params.model(entry.student), self.params.model(entry.teacher)
        parts = self.params.method_parts(method, dataset)
        found: StepFlops = flops.method_gflops(recipe, student, teacher, parts, classes)
        if not found.whole:
            self.uncounted[method] = None
        anchor_s = self._estimated_s(flops.training_gflops(recipe, student, classes))
        return _Cost(self._estimated_s(found.step), anchor_s, self._estimated_s(found.pretraining), ESTIMATED)

    def _estimated_s(self, gflops: float) -> float:
        return gflops * 1e9 / self.rate[0]

    @cached_property
    def _profiles(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        paths = {key: self.layout.profile(*key) for key in self.needed}
        found = {key: read_json(path, "profile") for key, path in paths.items() if path.is_file()}
        # One of another version will be measured again, and its unit is another one.
        return {key: profile for key, profile in found.items() if version_of(profile) == VERSION}

    @cached_property
    def rate(self) -> tuple[float, str]:
        """FLOPs a second for what was not measured: given, or that of the profiles there are, or assumed; and which."""
        if self.given is not None:
            return self.given * 1e12, "given"
        rates = [p["gflops"]["total"] * 1e9 / p["step_s"]["median"] for p in self._profiles.values()]
        if rates:
            kinds = "; ".join(sorted({profile["device_kind"] for profile in self._profiles.values()}))
            return statistics.median(rates), f"median of {len(rates)} profiles on {kinds}"
        return ASSUMED_TFLOPS * 1e12, "assumed: give yours with --tflops"

    def _basis(self, dataset: str, pair: str, methods: Iterable[str]) -> str:
        found = {self._cost(dataset, pair, method).basis for method in methods}
        return found.pop() if len(found) == 1 else f"{MEASURED}, rest {ESTIMATED}"

    def _classes(self, dataset: str) -> int:
        return find_reader(self.params.dataset(dataset).reader).num_classes

    def _scored(self, dataset: str) -> tuple[int, tuple[int, int]] | None:
        """How many images are scored, and the size of the middle one; None where they are not prepared."""
        folder = self.layout.prepared(dataset)
        if not (folder / INDEX).is_file():
            return None
        sizes = PackedSplit(folder, "val").sizes
        height, width = sorted(sizes, key=lambda size: size[0] * size[1])[len(sizes) // 2]
        return len(sizes), (height, width)
