"""A tiny study as the working directory, and its targets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from isoclock.dag.start import open_targets
from isoclock.dag.targets import GridTargets
from tiny_study import TinyStudy


@pytest.fixture
def in_the_study(empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    monkeypatch.chdir(empty_study.folder)
    return empty_study


@pytest.fixture
def opened(in_the_study: TinyStudy) -> Callable[..., GridTargets]:
    """The targets of grid `toy`, for `--config` with further keys."""
    return lambda **config: open_targets({"grid": "toy", **config})
