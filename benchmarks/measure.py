"""Shared by all benchmarks: interleaved samples, medians with quartiles, and the description of the machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("isoclock", "torch", "snakemake", "albumentations", "opencv-python-headless", "numpy")
# Of a program in a process of its own. `ru_maxrss` would include the process that started it.
PEAK_MIB = "int(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))) / 1024"
WIDTH = 110  # columns of a table in a log
_SCALES = (("s", 1.0), ("ms", 1e3), ("us", 1e6))


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of n samples."""

    median: float
    q25: float
    q75: float
    n: int

    @classmethod
    def of(cls, samples: Iterable[float]) -> Spread:
        """The spread of samples in any order; a single sample equals its quartiles. Raises ValueError if there is none."""
        values = list(samples)
        if not values:
            raise ValueError("no samples: there is no median of nothing")
        q25, median, q75 = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        return cls(median, q25, q75, len(values))

    def as_json(self) -> dict[str, float | int]:
        return {"median": self.median, "q25": self.q25, "q75": self.q75, "n": self.n}


@dataclass(frozen=True)
class Goal:
    """A goal. A benchmark reports whether it is met, and does not fail otherwise."""

    of: str  # a name in `times_s` or `ratios`
    at_most: float


@dataclass(frozen=True)
class Result:
    """Times (seconds, one sample a window) and ratios (one a pair of windows) of a benchmark."""

    name: str
    about: str
    times_s: dict[str, Sequence[float]]
    ratios: dict[str, Sequence[float]] = field(default_factory=dict)
    goals: Sequence[Goal] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    says: Sequence[str] = ()  # conclusions from the figures, in sentences

    def as_json(self) -> dict[str, Any]:
        """Spreads and samples, for the JSON file."""
        spreads = self.spreads()
        return {
            "about": self.about,
            "settings": self.settings,
            "says": list(self.says),
            "times_s": {name: spreads[name].as_json() | {"samples": list(v)} for name, v in self.times_s.items()},
            "ratios": {name: spreads[name].as_json() | {"samples": list(v)} for name, v in self.ratios.items()},
            "goals": [
                {"of": goal.of, "at_most": goal.at_most, "met": spreads[goal.of].median <= goal.at_most}
                for goal in self.goals
            ],
        }

    def spreads(self) -> dict[str, Spread]:
        """By name, times first."""
        return {name: Spread.of(samples) for name, samples in {**self.times_s, **self.ratios}.items()}


def in_turns(rounds: int, **measured: Callable[[], float]) -> dict[str, list[float]]:
    """Take one sample of each in every round, in reverse order every other round, so that drift affects all equally."""
    found: dict[str, list[float]] = {name: [] for name in measured}
    for number in range(rounds):
        for name in list(measured)[:: -1 if number % 2 else 1]:
            found[name].append(measured[name]())
    return found


def pairwise(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Ratios of samples of the same round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def machine() -> dict[str, Any]:
    """Description of the machine. `load_before` is the 1-minute load before the benchmark."""
    from isoclock.runner.device import choose_device
    from isoclock.runner.environment import hardware

    return {
        **hardware(choose_device()),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "unix": round(time.time()),
        "versions": {name: version(name) for name in PACKAGES},
    }


def show(results: Iterable[Result]) -> None:
    """Print one table of all results, and their conclusions."""
    results = list(results)
    table = Table("benchmark", "figure", "median", "quartiles", "n", "goal", title="Benchmarks")
    for result in results:
        goals = {goal.of: goal.at_most for goal in result.goals}
        for row, (name, spread) in enumerate(result.spreads().items()):
            text = _ratio if name in result.ratios else _seconds
            goal = ""
            if name in goals:
                met = spread.median <= goals[name]
                goal = f"{'[green]' if met else '[red]not '}<= {text(goals[name])}"
            quartiles = f"{text(spread.q25)} .. {text(spread.q75)}"
            table.add_row("" if row else result.name, name, text(spread.median), quartiles, str(spread.n), goal)
        table.add_section()
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH  # in a log the width is unknown, and 80 columns break the lines
    console.print(table)
    for result in results:
        for sentence in result.says:
            console.print(f"{result.name}: {sentence}")


def _ratio(value: float) -> str:
    return f"{value:.3g}" if value < 0.1 or value >= 10 else f"{value:.3f}"


def _seconds(value: float) -> str:
    unit, scale = next(((unit, scale) for unit, scale in _SCALES if value * scale >= 0.1), _SCALES[-1])
    return f"{value * scale:.3g} {unit}"
