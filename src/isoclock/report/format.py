"""Formats of numbers, shared by the page, markdown and LaTeX."""

from __future__ import annotations

from isoclock.protocol import VERSION
from isoclock.records.record import Checkpoints
from isoclock.statistics.estimate import Estimate
from isoclock.statistics.order import Rank

NOTHING = "–"


def version_note(version: int) -> str:
    """The note on tables and figures of another protocol version than this code's; empty for its own version."""
    if version == VERSION:
        return ""
    return f"Protocol version {version}: not to be compared with results of version {VERSION}."


def seconds(value: float | None) -> str:
    """Seconds below one hour, else hours."""
    if value is None:
        return NOTHING
    if value >= 3600:
        return f"{value / 3600:.2f} h"
    return f"{value:.0f} s" if value >= 100 else f"{value:.1f} s"


def count(value: float | None) -> str:
    """A count or a number of anchor-steps, with thousands separators."""
    return NOTHING if value is None else f"{value:,.0f}"


def both(planned: str, spent: str) -> str:
    """Planned and spent in one cell."""
    return NOTHING if planned == spent == NOTHING else f"{planned} / {spent}"


def saving(checkpoints: Checkpoints) -> str:
    """A record's `checkpoints`: their share of the train time, and how far apart they were in it."""
    return f"{percent(checkpoints.share_of_train, 2)} % / {seconds(checkpoints.every_s)}"


def ratio(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A cost ratio with its interval in brackets."""
    if value is None:
        return NOTHING
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def percent(value: float | None, digits: int = 1) -> str:
    """A share 0..1 as a percentage without its sign."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}"


def points(estimate: Estimate) -> str:
    """An mIoU in percentage points: mean ± half the interval; one seed says that it is one."""
    if estimate.mean is None:
        return NOTHING
    if estimate.half_width is None:
        return f"{100 * estimate.mean:.1f} (one seed)"
    return f"{100 * estimate.mean:.1f} ± {100 * estimate.half_width:.1f}"


def signed_points(estimate: Estimate | None) -> str:
    """A difference in percentage points with its interval in brackets."""
    if estimate is None or estimate.mean is None:
        return NOTHING
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.mean:+.1f}"
    return f"{100 * estimate.mean:+.1f} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"


def signed_percent(estimate: Estimate) -> str:
    """A relative deviation in per cent with its interval in brackets."""
    return NOTHING if estimate.mean is None else f"{signed_points(estimate)} %"


def p(value: float | None) -> str:
    """A p-value with two digits; small values as a bound."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def probability(estimate: Estimate) -> str:
    """A probability with its interval in brackets; one run has neither."""
    return NOTHING if estimate.low is None else ratio(estimate.mean, estimate.low, estimate.high)


def rank(found: Rank | None) -> str:
    """A rank, and the ranks that are possible."""
    return NOTHING if found is None else f"{found.place} [{found.low}, {found.high}]"
