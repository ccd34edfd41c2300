"""File systems without locks: the kernel itself answers so, to SQLite too (Lustre without `flock`, NFS without a lock service)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fault_makers import NoKernelLocks
from trainers import Trainer, ended

from tiny_study import write_plan

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.slow]
NUMBERS = (37, 38, 95)


@pytest.mark.parametrize("number", NUMBERS)
def test_one_of_two_trainers_trains(trainer: Callable[..., Trainer], whole: str, number: int) -> None:
    run = trainer()
    write_plan(run.study)
    statuses = sorted(ended(process) for process in [run.start(NoKernelLocks(number)) for _ in range(2)])
    assert statuses in ([0, 0], [0, 2]), run.said  # the second may start when the first has ended
    assert run.said.count("another process is writing this run") == statuses.count(2)
    assert "Traceback" not in run.said
    assert run.record["digests"]["weights"] == whole
    assert len(run.record["segments"]) == 1


@pytest.mark.parametrize("number", NUMBERS)
def test_prepare_continues_after_prepare(trainer: Callable[..., Trainer], number: int) -> None:
    run = trainer()
    for _ in range(2):
        assert run.run(NoKernelLocks(number), verb=["prepare", "streets"]) == 0, run.said
    assert "another process" not in run.said


@pytest.mark.parametrize("number", NUMBERS)
def test_sync_says_what_sqlite_needs(trainer: Callable[..., Trainer], number: int) -> None:
    run = trainer()
    assert run.run(NoKernelLocks(number), verb=["sync", "--grid", "toy"]) == 2, run.said
    assert "its file system has no file locks" in run.said
    assert "which SQLite needs; set MLFLOW_TRACKING_URI" in run.said
    assert "Traceback" not in run.said
