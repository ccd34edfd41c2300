"""Style of figures, and saving them in three formats without dates, so that equal figures give equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from isoclock.files import written_atomically

PAPER, INK, FAINT, RULE = "#ffffff", "#1c2024", "#6a717a", "#dfe3e8"
"""Colours that the page replaces by its own, so that inline figures follow the light and dark themes."""

ITERATION, COMPUTE, HOLE = "#c2660a", "#1769aa", "#b3261e"
SHARES = {
    "data": "#98a2ad", "student": "#0072b2", "teacher": "#e69f00",
    "loss": "#d55e00", "backward": "#009e73", "optimiser": "#cc79a7", "adversary": "#56b4e9",
}  # fmt: skip
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#98a2ad")
"""Both palettes are of Okabe and Ito (2008), which people with each kind of colour blindness can tell apart, and a grey."""

MARKERS = "osD^vPX*"
HOLE_TEXT: dict[str, Any] = {
    "color": HOLE, "fontsize": 7.5, "va": "center", "ha": "left", "zorder": 5,
    "bbox": {"facecolor": PAPER, "edgecolor": "none", "pad": 1},
}  # fmt: skip

TEACHER_TEXT: dict[str, Any] = {"fontsize": 7.5, "color": FAINT, "va": "bottom"}

STYLE: dict[str, Any] = {
    "svg.hashsalt": "isoclock", "svg.fonttype": "path", "pdf.fonttype": 42, "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": RULE, "xtick.color": FAINT, "ytick.color": FAINT,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 10, "axes.titlelocation": "left", "axes.axisbelow": True, "grid.color": RULE,
    "grid.linewidth": 0.8,
    "figure.facecolor": PAPER, "axes.facecolor": PAPER, "savefig.facecolor": PAPER, "path.simplify": False,
}  # fmt: skip
_NO_DATES: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


def save(figure: Figure, stem: Path) -> None:
    """Write `stem`.svg, .pdf and .png, each atomically."""
    for kind, metadata in _NO_DATES.items():
        with written_atomically(stem.with_name(f"{stem.name}.{kind}")) as temporary:
            figure.savefig(temporary, format=kind, dpi=170, metadata=metadata)
