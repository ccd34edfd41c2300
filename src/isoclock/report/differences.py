"""Methods against a reference at the same budget, with the statistics of the whole table (PROTOCOL.md, section 9)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from isoclock.files import read_arrays
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.params.variants import the_one, without_factor
from isoclock.report.collect import DIVERGED, Study
from isoclock.report.summary import Summary, by_budget, table_of
from isoclock.statistics.bootstrap import Stack, bootstrap_miou_difference
from isoclock.statistics.equivalence import detectable, equivalence_p
from isoclock.statistics.estimate import Estimate
from isoclock.statistics.order import probability_of_improvement
from isoclock.statistics.pooled import LEAST_SEEDS, Pooled, holm, paired_difference, pooled_over_pairs

PREFERRED_REFERENCE = "kd"
MARGIN = 0.005
"""Difference in mIoU (0..1) within which two methods count as equivalent."""
LEVEL = 0.05
_RESAMPLES = 4000


@dataclass(frozen=True)
class Difference:
    """mIoU of a method minus the reference's at the same budget.

    `over_seeds` is over the seeds that both finished, with the pooled deviation of the table; `p` and `equivalence_p` are adjusted
    for the number of comparisons in the table (Holm). `better` is the probability that a run of the method scores above one of
    the reference, diverged runs being the worst. `over_images` is the bootstrap over `seeds` and images. `detectable` is the
    true difference that so many seeds find with a probability of 0.8.
    """

    dataset: str
    pair: str
    budget: str
    method: str
    reference: str
    over_seeds: Estimate
    better: Estimate
    over_images: Estimate | None
    seeds: int
    p: float | None = None
    equivalence_p: float | None = None
    detectable: float | None = None
    diverged: str = ""  # how many runs of the method did, such as "1 of 5 diverged"

    @property
    def distinguishable(self) -> bool:
        """Whether the difference is not 0, at level 0.05 for the whole table.

        A method some of whose runs diverged is not above: the others are not what a run of it gives.
        """
        above = (self.over_seeds.mean or 0.0) > 0
        return self.p is not None and self.p < LEVEL and not (above and self.diverged)

    @property
    def equivalent(self) -> bool:
        """Whether the difference is within the margin, at level 0.05 for the whole table."""
        return self.equivalence_p is not None and self.equivalence_p < LEVEL and not self.diverged

    @property
    def result(self) -> str:
        """What can be said of it, in words."""
        n, mean = self.over_seeds.n, self.over_seeds.mean or 0.0
        lost = [self.diverged] if self.diverged else []
        if n < LEAST_SEEDS:
            return ", ".join([f"no test at n = {n}", *lost])
        parts = [f"{'above' if mean > 0 else 'below'} {self.reference}"] if self.distinguishable else []
        parts += [f"within {100 * MARGIN:g} points"] if self.equivalent else []
        return ", ".join([*(parts or [f"not distinguishable at n = {n}"]), *lost])


def differences(study: Study, summaries: Sequence[Summary], reference: str | None = None) -> list[Difference]:
    """Every method against the reference (default: plain logit KD, `kd`) of its own pair and budget.

    The first method of the grid that distils stands in where there is no `kd`. Summaries without a shared seed are left
    out: the table of holes has them.
    """
    found: list[Difference] = []
    for _, grouped in groupby(summaries, key=table_of):
        table = list(grouped)
        pooled = pooled_over_pairs([s.scores for s in same] for same in by_budget(table))
        compared = [d for same in by_budget(table) for d in _at_budget(study, same, reference, pooled)]
        tests = sum(d.over_seeds.p is not None for d in compared)
        adjusted = holm([d.over_seeds.p for d in compared])
        within = holm([equivalence_p(d.over_seeds, pooled.df, MARGIN) for d in compared])
        found += [
            replace(d, p=p, equivalence_p=same, detectable=detectable(pooled, d.over_seeds.n, tests))
            for d, p, same in zip(compared, adjusted, within, strict=True)
        ]
    return found


def _at_budget(study: Study, same: list[Summary], reference: str | None, pooled: Pooled) -> Iterator[Difference]:
    by_method = {summary.first.method: summary for summary in same}
    base = by_method.get(reference or _reference(list(by_method)) or "")
    for method, summary in by_method.items():
        if base is None or summary is base:
            continue
        over_seeds = paired_difference(summary.scores, base.scores, pooled)
        if over_seeds.n == 0:
            continue
        seeds = sorted(summary.scores.keys() & base.scores.keys())
        images = _over_images(study, summary, base, seeds)
        better = probability_of_improvement(summary.with_diverged, base.with_diverged)
        first = summary.first
        yield Difference(
            first.dataset, first.pair, first.budget, method, base.first.method, over_seeds, better, images, len(seeds),
            diverged=f"{lost} of {len(summary.rows)} diverged" if (lost := summary.count(DIVERGED)) else "",
        )  # fmt: skip


def _over_images(study: Study, first: Summary, second: Summary, seeds: Sequence[int]) -> Estimate | None:
    """The paired bootstrap, where all cells left per-image confusions of the same images."""
    pairs: list[tuple[Stack, Stack]] = []
    names: list[list[str]] = []
    for seed in seeds:
        stacks = []
        for summary in (first, second):
            row = next(row for row in summary.rows if row.seed == seed)
            path = Layout(study.results).student_scores(Cell.parse(row.path)).confusion
            if not path.is_file():
                return None
            per_image, of = read_arrays(path, "per_image", "names", made_by=f"evaluate {row.path}")
            stacks.append(per_image)
            names.append(of.tolist())
        pairs.append((stacks[0], stacks[1]))
    shapes = {stack.shape for pair in pairs for stack in pair}
    if any(one != names[0] for one in names) or len(shapes) != 1:
        return None
    return bootstrap_miou_difference(pairs, resamples=_RESAMPLES)


def _reference(methods: list[str]) -> str | None:
    distilling = [method for method in methods if without_factor(method) != "none"]
    return the_one(methods, PREFERRED_REFERENCE) or next(iter(distilling), None)
