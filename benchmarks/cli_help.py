"""Time of `isoclock --help`, and the part of it that is Python itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from measure import Goal, Result, in_turns, pairwise, show


def measure(rounds: int = 10) -> Result:
    """Measure new processes, interleaved with processes that do nothing."""
    program = str(Path(sys.executable).with_name("isoclock"))
    _wall_s(program, "--help")  # warm up the file cache
    found = in_turns(
        rounds,
        help=lambda: _wall_s(program, "--help"),
        nothing=lambda: _wall_s(sys.executable, "-c", "pass"),
    )
    return Result(
        "cli_help",
        "wall time of `isoclock --help` in a fresh process",
        {"isoclock --help": found["help"], "python -c pass": found["nothing"]},
        {"help / nothing": pairwise(found["help"], found["nothing"])},
        [Goal("isoclock --help", 0.3)],
    )


def _wall_s(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    show([measure()])
