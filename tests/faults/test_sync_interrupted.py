"""`isoclock sync` is killed while it creates the store, and in a study of 100 runs."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tracked_study import Study

ROUNDS, KILLS = (
    (20, 1) if os.environ.get("ISOCLOCK_SLOW") == "1" else (1, 3)
)  # stores, and kills of the first sync of each
pytestmark = pytest.mark.xdist_group("faults")
CELL = "streets/demo/kd/compute-400/"


def sync_for(seconds: float, study: Study) -> None:
    """Kill a sync after some time."""
    process = multiprocessing.get_context("fork").Process(target=study.sync)
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (-signal.SIGKILL, 0)


def new(folder: Path) -> Study:
    folder.mkdir()
    return Study(folder, f"sqlite:///{folder / 'mlflow.db'}")


def seconds_of_a_sync(study: Study) -> float:
    started = time.monotonic()
    sync_for(300, study)
    return time.monotonic() - started


@pytest.mark.target("20 kills in the first sync: no losses")
@pytest.mark.timeout(120 + 30 * ROUNDS)
def test_kills_during_the_first_sync_leave_a_usable_store(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("cases", ROUNDS * KILLS)
    whole = new(tmp_path / "whole")
    whole.student(f"{CELL}0", run_id="one")
    took_s = seconds_of_a_sync(whole)
    expected, draw = whole.census(), random.Random(KILLS)
    for number in range(ROUNDS):
        study = new(tmp_path / f"{number}")
        shutil.copytree(whole.results, study.results)
        for _ in range(KILLS):
            sync_for(draw.uniform(0.05, 1.0) * took_s, study)
        study.sync()
        assert study.census() == expected
        assert len(study.found()) == len(expected)
        assert not list(study.root.glob("*.upgrade*"))


@pytest.mark.slow
@pytest.mark.target("10 kills in every other verb: no losses")
@pytest.mark.timeout(900)
def test_kills_during_later_syncs_lose_and_repeat_nothing(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("cases", 10)
    whole = new(tmp_path / "whole")
    for number in range(100):
        whole.student(f"{CELL}{number}", run_id=f"run-{number}")
    study = new(tmp_path / "killed")
    shutil.copytree(whole.results, study.results)
    took_s, draw = seconds_of_a_sync(whole), random.Random(10)
    for _ in range(10):
        sync_for(draw.uniform(0.02, 0.2) * took_s, study)
    study.sync()
    expected = whole.census()
    assert len(expected) == 100
    assert study.census() == expected
    assert len(study.found()) == len(expected)
    assert not study.sync().changed
