"""MLflow's store is gone, locked or a dead server (fault 5): training is not affected, and a later sync completes it.

A deleted store, a server that is killed and comes back, runs left RUNNING: tests/tracking/test_syncing.py.
"""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable

import pytest
from fault_makers import Environment
from trainers import Trainer

from isoclock.errors import UserError
from isoclock.tracking import sync, upgrade_store
from tiny_study import write_plan

pytestmark = pytest.mark.xdist_group("faults")


def test_training_does_not_access_the_store(trainer: Callable[..., Trainer], whole: str) -> None:
    run = trainer()
    write_plan(run.study)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts but never answers
        address = f"http://127.0.0.1:{mute.getsockname()[1]}"
        assert run.run(Environment((("MLFLOW_TRACKING_URI", address),))) == 0, run.said
        mute.setblocking(False)
        with pytest.raises(BlockingIOError):
            mute.accept()
    assert run.record["digests"]["weights"] == whole


@pytest.mark.slow
def test_a_locked_store_is_reported_and_the_next_sync_completes_it(trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    write_plan(run.study)
    assert run.run() == 0, run.said
    path = run.study.folder / "mlflow.db"
    uri, layout = f"sqlite:///{path}", run.study.layout
    upgrade_store(uri)
    with sqlite3.connect(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match=r"database is locked.*another program has it open") as caught:
            sync(layout.results, layout.runs, uri)
        assert len(caught.value.problems) == 1
        other.rollback()
    assert sync(layout.results, layout.runs, uri).created == 2, "the cell and its teacher"
    assert not sync(layout.results, layout.runs, uri).changed
