"""One study that was run through once; tests work on copies of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from clone import Clone


@pytest.fixture(scope="session")
def _studied(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    from isoclock.data.streets import make_streets

    clone = Clone.make(tmp_path_factory.mktemp("workflow") / "study")
    make_streets(clone.folder / "data" / "streets", train=5, val=2, size=(64, 128))
    clone.snakemake("all")
    return clone


@pytest.fixture
def studied(_studied: Clone, tmp_path: Path) -> Clone:
    """A copy of a study of which everything is made."""
    return _studied.copy(tmp_path / "study")


@pytest.fixture
def fresh(tmp_path: Path) -> Clone:
    """The project as it is after `git clone`, with tiny params."""
    return Clone.make(tmp_path / "study")
