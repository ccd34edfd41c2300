"""One study that was run through once; tests work on copies of it. What its methods cost is output: two anchor-steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from clone import Clone

from command_server import CommandServer

# A machine's noise cannot be ordered. Where there is a file `ratios`, windows of a method take so many times as long as the
# anchor's, one number for each window, and again from the first: all that is made of them is real.
SET_RATIOS = """

import itertools as _itertools
from pathlib import Path as _Path

_run = StepBench.run
_ratios = _Path("ratios")
_given = _itertools.cycle(float(ratio) for ratio in _ratios.read_text().split()) if _ratios.is_file() else None


def _take(self, steps, *arguments, **named):
    seconds = _run(self, steps, *arguments, **named)
    if _given is None or steps != 1:
        return seconds
    return 0.01 * next(_given) if self.step.teacher is not None else 0.01


StepBench.run = _take
"""


@pytest.fixture(scope="session")
def commands() -> Path:
    """Folder of the commands `isoclock` and `snakemake` of a command server."""
    return CommandServer().bin


@pytest.fixture(scope="session")
def _studied(tmp_path_factory: pytest.TempPathFactory, commands: Path) -> Clone:
    from isoclock.data.streets.make import make_streets

    clone = Clone.make(tmp_path_factory.mktemp("workflow") / "study", commands)
    make_streets(clone.folder / "data" / "streets", train=5, val=2, size=(64, 128))
    with (clone.folder / "src/isoclock/budget/profile.py").open("a") as profile:
        profile.write(SET_RATIOS)
    (clone.folder / "ratios").write_text("2.0")
    (clone.folder / "printed").write_text(clone.snakemake("all"))
    return clone


@pytest.fixture
def studied(_studied: Clone, tmp_path: Path) -> Clone:
    """A copy of a study of which everything is made."""
    return _studied.copy(tmp_path / "study")


@pytest.fixture
def fresh(tmp_path: Path, commands: Path) -> Clone:
    """The project as it is after `git clone`, with tiny params."""
    return Clone.make(tmp_path / "study", commands)
