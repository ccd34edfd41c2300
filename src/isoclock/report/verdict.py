"""The report in two sentences: what the numbers say at equal compute, and what at equal iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isoclock.report import format
from isoclock.report.differences import MARGIN, Difference
from isoclock.report.summary import Summary, budget_size, size_order
from isoclock.statistics.estimate import Estimate

_NAMED = 3  # methods that a sentence names on each side; the others are counted

RULE = (
    "A method is distinguishable if its p over at least 3 seeds, adjusted for all comparisons of the table (Holm), is below "
    "0.05. Intervals are those of the table, without this adjustment."
)


@dataclass(frozen=True)
class Claim:
    """A method against the reference at one budget: the difference in mIoU (0..1), and whether it counts as one."""

    method: str
    reference: str
    difference: Estimate
    distinguishable: bool
    equivalent: bool = False
    detectable: float | None = None


def verdict(compute: Sequence[Claim], iteration: Sequence[Claim], budgets: tuple[str, str] = ("", "")) -> list[str]:
    """Two sentences, of equal compute and of equal iterations. `budgets` are the names of the two budgets.

    The claims of one budget share their reference. A protocol without claims gets a sentence that says so.
    """
    words = ("equal compute", "equal iterations")
    return [
        _sentence(f"At {word}" + (f" ({budget})" if budget else ""), claims)
        for word, budget, claims in zip(words, budgets, (compute, iteration), strict=True)
    ]


def pair_verdict(summaries: Sequence[Summary], found: Sequence[Difference]) -> list[str]:
    """The verdict on one pair, from its summaries and differences: at the largest budget, and the iterations of its size."""
    protocols = {s.first.budget: s.first.protocol for s in summaries}
    budgets = {
        protocol: sorted(
            {d.budget for d in found if protocols.get(d.budget) == protocol},
            key=lambda name, protocol=protocol: size_order(budget_size(name, protocol)),  # type: ignore[misc]
        )
        for protocol in ("compute", "iteration")
    }
    compute = budgets["compute"][-1] if budgets["compute"] else ""
    size = budget_size(compute, "compute")
    same = [name for name in budgets["iteration"] if budget_size(name, "iteration") == size]
    iteration = (same or budgets["iteration"] or [""])[-1]
    return verdict(_claims(found, compute), _claims(found, iteration), (compute, iteration))


def _claims(found: Sequence[Difference], budget: str) -> list[Claim]:
    """The differences at one budget."""
    return [
        Claim(d.method, d.reference, d.over_seeds, d.distinguishable, d.equivalent, d.detectable)
        for d in found
        if d.budget == budget
    ]


def _sentence(where: str, claims: Sequence[Claim]) -> str:
    known = [claim for claim in claims if claim.difference.mean is not None]
    if not known:
        return f"{where} there is nothing to compare: no two methods share a finished seed."
    ordered = sorted(known, key=lambda claim: -(claim.difference.mean or 0))
    reference, n = ordered[0].reference, _seeds(ordered)
    above = [c for c in ordered if c.distinguishable and (c.difference.mean or 0) > 0]
    below = [c for c in reversed(ordered) if c.distinguishable and (c.difference.mean or 0) < 0]
    if not above and not below and not any(claim.equivalent for claim in known):
        largest = max(known, key=lambda claim: abs(claim.difference.mean or 0))
        text = (
            f"{where}, no method is distinguishable from {reference} at {n}; the largest difference in mIoU is that of "
            f"{largest.method}, {_points(largest)}"
        )
        found = next((claim.detectable for claim in known if claim.detectable is not None), None)
        if found is not None:
            return f"{text}; a true difference of {100 * found:.1f} points would probably have been found."
        return text + (" (one seed has no interval)." if largest.difference.low is None else ".")
    parts = [
        f"{_listed(side)} {'scores' if len(side) == 1 else 'score'} {word} {reference}"
        for side, word in ((above, "above"), (below, "below"))
        if side
    ]
    equal = [c.method for c in ordered if c.equivalent and not c.distinguishable]
    if equal:
        parts.append(f"{', '.join(equal)} {'is' if len(equal) == 1 else 'are'} within {100 * MARGIN:g} points of it")
    names = [c.method for c in ordered if not c.distinguishable and not c.equivalent]
    if others := len(names):
        parts.append(
            f"{', '.join(names) if others <= _NAMED else f'{others} methods'} {'is' if others == 1 else 'are'} not "
            "distinguishable from it"
        )
    return f"{where}, {'; '.join(parts)} ({n}; mIoU with 95 % interval)."


def _listed(claims: Sequence[Claim]) -> str:
    named = [f"{claim.method} ({_points(claim)})" for claim in claims[:_NAMED]]
    more = len(claims) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _points(claim: Claim) -> str:
    return f"{format.signed_points(claim.difference)} points"


def _seeds(claims: Sequence[Claim]) -> str:
    low, high = min(c.difference.n for c in claims), max(c.difference.n for c in claims)
    return f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{low}" + (f" to {high}" if high > low else "")
