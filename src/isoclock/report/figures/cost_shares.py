"""What one training iteration costs, split by where the time goes."""

from __future__ import annotations

from matplotlib.figure import Figure

from isoclock.report.figures import PairResults
from isoclock.report.style import HOLE, INK, PAPER, SHARES

TITLE = "What one training iteration costs"
CAPTION = (
    "Anchor-steps per iteration, split by where the time goes. The whisker is the 95 % bootstrap interval of the total; the "
    "dashed line is the anchor, one student-only step."
)


def draw(results: PairResults) -> Figure | None:
    """One bar per method. None if there is no profile."""
    methods = results.methods
    profiles = [results.study.profiles.get((results.dataset, results.pair, method)) for method in methods]
    known = [profile for profile in profiles if profile]
    if not known:
        return None
    figure = Figure(figsize=(7.6, 1.25 + 0.36 * len(methods)), layout="constrained")
    axes = figure.subplots()
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    widest = max(profile.cost.high for profile in known)
    shares = {
        share: colour for share, colour in SHARES.items() if any(getattr(profile.shares, share) for profile in known)
    }
    for row, profile in enumerate(profiles):
        if profile is None:
            axes.text(0.02 * widest, row, "no profile", color=HOLE, va="center", fontsize=8)
            continue
        cost, left = profile.cost, 0.0
        for share, colour in shares.items():
            width = cost.ratio * getattr(profile.shares, share)
            label = share if profile is known[0] else None
            axes.barh(row, width, left=left, height=0.62, color=colour, edgecolor=PAPER, linewidth=0.7, label=label)
            left += width
        axes.plot([cost.low, cost.high], [row, row], color=INK, linewidth=1.3, solid_capstyle="butt")
        marks = f"  {', '.join(profile.marks)}" if profile.marks else ""
        axes.text(cost.high + 0.015 * widest, row, f"{cost.ratio:.2f}", va="center", fontsize=8.5)
        if marks:
            axes.text(cost.high + 0.075 * widest, row, marks, va="center", fontsize=7.5, color=HOLE)
    axes.axvline(1, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_xlim(0, widest * 1.2)
    axes.set_xlabel("anchor-steps per iteration")
    box = {"handlelength": 1, "handleheight": 1, "columnspacing": 1.3, "handletextpad": 0.5}
    figure.legend(loc="outside upper left", ncols=len(shares), frameon=False, **box)
    return figure
