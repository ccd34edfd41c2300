"""Seconds of a method's steps: measured where there is a profile, estimated from FLOPs and a rate elsewhere."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from isoclock.budget.known_flops import KnownFlops
from isoclock.data.readers.reader import reader_of
from isoclock.params.load import Params
from isoclock.params.schema import Recipe
from isoclock.params.variants import without_factor
from isoclock.protocol import VERSION
from isoclock.records.profile import Profile
from isoclock.records.results import Results

ASSUMED_TFLOPS = 20.0
"""What a data-centre GPU reaches with a dilated ResNet in bf16, in 1e12 operations a second: an order of magnitude, no more."""

KEPT_CHECKPOINTS = 2  # of a run, as isoclock.runner.checkpoint keeps them
MEASURED, ESTIMATED = "measured", "from FLOPs"


@dataclass(frozen=True)
class Cost:
    """Seconds of an iteration, of an anchor step, and of everything before the first iteration."""

    step_s: float
    anchor_s: float
    pretraining_s: float
    basis: str


class StepCosts:
    """The costs of a grid's methods, each computed once. `tflops` overrides every measured rate where times are estimated.

    `uncounted` has the methods whose losses cannot be counted, so that their estimates are too low.
    """

    def __init__(
        self, params: Params, results: Results, needed: Sequence[tuple[str, str, str]], tflops: float | None
    ) -> None:
        self.params, self.results, self.needed, self.given = params, results, needed, tflops
        self.uncounted: dict[str, None] = {}
        self.flops = KnownFlops(results.layout.counted_flops())
        self._costs: dict[tuple[str, str, str], Cost] = {}

    def of(self, dataset: str, pair: str, method: str) -> Cost:
        """The cost of a method."""
        key = (dataset, pair, without_factor(method))
        if key not in self._costs:
            self._costs[key] = self._measured(key) or self._estimated(key)
        return self._costs[key]

    def basis(self, dataset: str, pair: str, methods: Iterable[str]) -> str:
        """Whether the costs of several methods are measured, estimated or both."""
        found = {self.of(dataset, pair, method).basis for method in methods}
        return found.pop() if len(found) == 1 else f"{MEASURED}, rest {ESTIMATED}"

    def seconds(self, gflops: float) -> float:
        """Estimated seconds of that many 1e9 floating-point operations."""
        return gflops * 1e9 / self.rate[0]

    def teacher_step_s(self, recipe: Recipe, dataset: str, model: str) -> float:
        """Estimated seconds of an iteration of a teacher."""
        return self.seconds(
            self.flops.of("training_gflops", recipe, self.params.model(model), self.classes(dataset)).step
        )

    def training_gb(self, dataset: str, model: str) -> float:
        """GB that a training leaves: weights, and two checkpoints of weights and momentum. An imported network has weights only."""
        gb = self.flops.of("network_gb", self.params.model(model), self.classes(dataset)).step
        return gb if self.params.is_imported(model) else gb + KEPT_CHECKPOINTS * 2 * gb

    def scoring_s(self, recipe: Recipe, dataset: str, model: str, size: tuple[int, int]) -> float:
        """Estimated seconds of scoring one image of `size` pixels (height, width)."""
        entry, classes = self.params.model(model), self.classes(dataset)
        return self.seconds(self.flops.of("scoring_gflops", entry, classes, size, recipe.scoring).step)

    def classes(self, dataset: str) -> int:
        """Number of classes of a data set."""
        return reader_of(self.params.dataset(dataset)).num_classes

    @cached_property
    def rate(self) -> tuple[float, str]:
        """FLOPs a second for what was not measured: given, or that of the profiles there are, or assumed; and which."""
        if self.given is not None:
            return self.given * 1e12, "given"
        rates = [profile.gflops.total * 1e9 / profile.step_s.median for profile in self._profiles.values()]
        if rates:
            kinds = "; ".join(sorted({profile.device_kind for profile in self._profiles.values()}))
            return statistics.median(rates), f"median of {len(rates)} profiles on {kinds}"
        return ASSUMED_TFLOPS * 1e12, "assumed: give yours with --tflops"

    @cached_property
    def _profiles(self) -> dict[tuple[str, str, str], Profile]:
        found = {key: profile for key in self.needed if (profile := self.results.profile(*key)) is not None}
        # A profile of another version is measured again, and its unit is another one.
        return {key: profile for key, profile in found.items() if profile.protocol_version == VERSION}

    def _measured(self, key: tuple[str, str, str]) -> Cost | None:
        if (profile := self._profiles.get(key)) is None:
            return None
        anchor_s = profile.anchor_s.median
        return Cost(profile.cost.ratio * anchor_s, anchor_s, profile.pretrain_anchor_steps * anchor_s, MEASURED)

    def _estimated(self, key: tuple[str, str, str]) -> Cost:
        dataset, pair, method = key
        recipe, entry, classes = self.params.recipe(dataset, "student"), self.params.pair(pair), self.classes(dataset)
        student, teacher = self.params.model(entry.student), self.params.model(entry.teacher)
        parts = self.params.method_parts(method, dataset)
        found = self.flops.of("method_gflops", recipe, student, teacher, parts, classes)
        if not found.whole:
            self.uncounted[method] = None
        anchor_s = self.seconds(self.flops.of("training_gflops", recipe, student, classes).step)
        return Cost(self.seconds(found.step), anchor_s, self.seconds(found.pretraining), ESTIMATED)
