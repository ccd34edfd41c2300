"""Break-even: how much cheaper an iteration of a method has to become to tie canonical KD (PROTOCOL.md, section 11)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from isoclock.params.variants import the_one, without_factor
from isoclock.report.collect import FINISHED
from isoclock.report.curve import Bounds, Curve
from isoclock.report.summary import Summary
from isoclock.statistics.estimate import t_interval
from isoclock.statistics.pooled import LEAST_SEEDS

TIES = "ties or wins already"
ANCHOR = "none"
"""Method whose step is the anchor-step itself, so it cannot become cheaper."""

TIE_MARGIN = 1.1
"""A method ties if its 95 % interval of x is below this factor."""

SIGN_TEST_SEEDS = 5
"""All of five seeds are on one side by chance in 1/32 of all cases, all of three in 1/8."""

_ROUNDING = 1e-9


class Point:
    """The cells of one method that train for the same number of iterations, under any budget."""

    def __init__(self, summaries: Sequence[Summary]) -> None:
        first, rows = summaries[0], [row for s in summaries for row in s.rows]
        self.method = first.first.method
        self.budgets = tuple(s.first.budget for s in summaries)
        self.protocols = tuple(s.first.protocol for s in summaries)
        self.iterations = first.mean("iterations_planned")
        self.anchor_steps = first.mean("planned_anchor_steps")
        self.protocol_version = first.first.protocol_version
        self.seeds = len({row.seed for row in rows})
        self.device_kinds = {row.device_kind for row in rows if row.status == FINISHED and row.device_kind}
        self.marks = tuple(dict.fromkeys(mark for s in summaries for mark in s.marks))
        self.hole = first.hole
        runs: dict[int, list[float]] = {}
        for seed, miou in (item for s in summaries for item in s.scores.items()):
            runs.setdefault(seed, []).append(miou)
        self.scores = {seed: sum(found) / len(found) for seed, found in sorted(runs.items())}
        self.miou = sum(self.scores.values()) / len(self.scores) if self.scores else None

    @property
    def cost(self) -> float | None:
        """Anchor-steps per iteration, with pre-training spread over all iterations."""
        return self.anchor_steps / self.iterations if self.anchor_steps and self.iterations else None


@dataclass(frozen=True)
class Needed:
    """What one score requires: canonical KD reaches it after `kd_steps`; the method used `anchor_steps` for `iterations`."""

    kd_steps: Bounds
    anchor_steps: float
    iterations: float

    @property
    def times_cheaper(self) -> Bounds:
        """x: how many times cheaper an iteration has to be; 1 or less if the method ties or wins already."""
        return self.kd_steps.under(self.anchor_steps)

    @property
    def cost(self) -> float:
        """Anchor-steps per iteration."""
        return self.anchor_steps / self.iterations

    @property
    def cost_to_tie(self) -> Bounds:
        """Anchor-steps per iteration at which the method ties."""
        return self.kd_steps.over(self.iterations)

    def verdict(self, yardstick: str, kd_cost: float, least: float = 1.0) -> str:
        """What a tie requires, given two limits: `least`, an iteration without overhead, and the cost of canonical KD.

        A plan rounds down to whole iterations. So a score below that of canonical KD's shortest run, at a budget that differs
        by less than one iteration, counts as behind, not as undecided.
        """
        tie = self.cost_to_tie
        below = 1 + 1 / self.iterations if tie.low == 0 else 1 - _ROUNDING
        if tie.low >= self.cost * (1 - _ROUNDING):
            return TIES
        if tie.high < least * below:
            return "out of reach: even at zero overhead"
        if tie.high >= self.cost * below:
            return f"not decided: {'above' if tie.low else 'below'} what {yardstick} was measured at"
        if tie.low >= kd_cost * (1 - _ROUNDING):
            return f"cheaper, and may stay more expensive than {yardstick}"
        if tie.high < kd_cost * below:
            return f"only if cheaper than {yardstick}" + ("" if tie.low else ", if at all")
        return f"cheaper: {yardstick} was not measured so low"


@dataclass(frozen=True)
class BreakEvenRow:
    """A method's point against canonical KD's curve. `needed` is None for a hole; `by_seed` compares each seed with its own
    curve.
    """

    point: Point
    why_not: str = ""
    needed: Needed | None = None
    by_seed: tuple[tuple[int, Needed], ...] = ()

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % t interval of log x over seeds, as x. None below three seeds, and where x of a seed is only a bound."""
        known = [needed.times_cheaper.known for _, needed in self.by_seed]
        logs = [math.log(x) for x in known if x is not None]
        if len(logs) < max(LEAST_SEEDS, len(known)):
            return None
        found = t_interval(logs)
        return None if found.low is None or found.high is None else (math.exp(found.low), math.exp(found.high))

    @property
    def ties(self) -> bool:
        """Whether the seeds show that the method ties or wins: their interval is within the margin.

        Where x of a seed is only a bound, there is no interval: then x of none may be above 1, which is a sign test, of five.
        """
        if (interval := self.interval) is not None:
            return interval[1] < TIE_MARGIN
        highest = [needed.times_cheaper.high for _, needed in self.by_seed]
        return len(highest) >= SIGN_TEST_SEEDS and max(highest) <= 1.0


@dataclass(frozen=True)
class BreakEven:
    """One pair: the points of canonical KD, including holes, and what every other method needs. `why_not` is the reason if
    there is no break-even.
    """

    dataset: str
    pair: str
    yardstick: str = ""
    why_not: str = ""
    kd: tuple[Point, ...] = ()
    curve: Curve | None = None
    kd_cost: float = 0.0
    rows: tuple[BreakEvenRow, ...] = ()

    def verdict(self, row: BreakEvenRow, needed: Needed) -> str:
        """What a tie requires for one of the row's scores: the mean over seeds, or that of one seed.

        The mean ties if, and only if, the seeds show it.
        """
        least = row.point.cost if without_factor(row.point.method) == ANCHOR else None
        found = needed.verdict(self.yardstick, self.kd_cost, least or 1.0)
        if needed is row.needed and row.ties:
            return TIES
        if needed is not row.needed or found != TIES:
            return found
        n = len(row.by_seed)
        bounded = any(needed.times_cheaper.known is None for _, needed in row.by_seed)
        seeds = SIGN_TEST_SEEDS if bounded else LEAST_SEEDS
        return f"tie not shown at n = {n}" + ("" if n >= seeds else f", which needs {seeds}")


def break_even(summaries: Sequence[Summary], dataset: str, pair: str) -> BreakEven:
    """The break-even of one pair, from the summaries of a study."""
    mine = [s for s in summaries if (s.first.dataset, s.first.pair) == (dataset, pair)]
    yardsticks = sorted({row.yardstick for s in mine for row in s.rows if row.yardstick})
    if not yardsticks:
        return BreakEven(dataset, pair, why_not="no compute budget here has a yardstick, or none is planned yet")
    if len(yardsticks) > 1:
        return BreakEven(dataset, pair, why_not=f"its compute budgets have several yardsticks: {', '.join(yardsticks)}")
    (yardstick,) = yardsticks
    points = _points(mine)
    yardstick = the_one([point.method for point in points], yardstick) or yardstick  # which may have a factor here
    kd = sorted((p for p in points if p.method == yardstick), key=lambda point: point.anchor_steps or 0)
    scored = [point for point in kd if point.miou is not None and point.anchor_steps]
    if not scored:
        why_not = f"no cell of {yardstick}, its budgets' yardstick, is " + ("scored" if kd else "in the grid")
        return BreakEven(dataset, pair, yardstick, why_not, tuple(kd))
    kinds = set().union(*(point.device_kinds for point in scored))
    if len(kinds) > 1:
        why_not = f"{yardstick} was trained on several device kinds ({'; '.join(sorted(kinds))}), whose anchor-steps do not compare"
        return BreakEven(dataset, pair, yardstick, why_not, tuple(kd))
    # A mean is weighted by its number of seeds. The cost is that of the longest run, where pre-training matters least.
    curve = Curve.through([(p.anchor_steps or 0, p.miou or 0, len(p.scores)) for p in scored])
    rows = [_row(point, curve, scored, kinds) for point in points if point.method != yardstick]
    return BreakEven(dataset, pair, yardstick, "", tuple(kd), curve, scored[-1].cost or 0.0, tuple(rows))


def _points(summaries: Sequence[Summary]) -> list[Point]:
    """Points with methods in grid order and budgets in summary order; equal numbers of iterations are one point."""
    together: dict[tuple[str, float | str], list[Summary]] = {}
    for s in summaries:
        together.setdefault((s.first.method, s.mean("iterations_planned") or s.first.budget), []).append(s)
    methods = list(dict.fromkeys(method for method, _ in together))
    return sorted(map(Point, together.values()), key=lambda point: methods.index(point.method))


def _row(point: Point, curve: Curve, scored: Sequence[Point], kinds: set[str]) -> BreakEvenRow:
    steps, iterations = point.anchor_steps, point.iterations
    if point.miou is None or not steps or not iterations:
        return BreakEvenRow(point, "not scored")
    if point.device_kinds - kinds:
        return BreakEvenRow(
            point, f"trained on {'; '.join(sorted(point.device_kinds - kinds))}: anchor-steps do not compare"
        )
    by_seed = []
    for seed, miou in point.scores.items():
        own = [(kd.anchor_steps or 0, kd.scores[seed], 1) for kd in scored if seed in kd.scores]
        if own:
            by_seed.append((seed, Needed(Curve.through(own).reaches(miou), steps, iterations)))
    return BreakEvenRow(point, "", Needed(curve.reaches(point.miou), steps, iterations), tuple(by_seed))
