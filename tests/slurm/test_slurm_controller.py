"""A controller that is away for a while: no retry is used, and no job is forgotten."""

from __future__ import annotations

import pytest
from scenario import KD, OnCluster
from studies import ITERATIONS

pytestmark = pytest.mark.xdist_group("slurm")

# Snakemake waits, before its first job, until the controller is stopped; questions come more often than every ten seconds.
ONCE_STOPPED = """

import time as _time
from pathlib import Path as _Path

from isoclock.cluster import executor as _executor

_executor.ASK_EVERY_S = 1.0


onstart:
    _Path("ready").touch()
    while not _Path("stopped").exists():
        _time.sleep(0.05)
"""
AWAY, BACK = "SLURM's controller does not answer", "SLURM's controller answers again"


def the_controller_is_away_twice(study: OnCluster) -> None:
    """While a job is submitted, and while it runs and ends. No retry is to spare."""
    study.settle(spare_retries=0)
    study.slow_down(0.05)
    with (study.clone.folder / "Snakefile").open("a") as snakefile:
        snakefile.write(ONCE_STOPPED)

    def printed(text: str, times: int) -> bool:
        return study.output.read_text().count(text) == times

    def meanwhile() -> None:
        study.until((study.clone.folder / "ready").exists, "Snakemake starts")
        study.cluster.stop_controller()
        (study.clone.folder / "stopped").touch()
        study.until(lambda: printed(AWAY, 1), "a submission finds no controller")
        study.cluster.start_controller()
        study.job_that_trains()
        study.cluster.stop_controller()
        study.until(lambda: printed(AWAY, 2), "a look at the jobs finds no controller")
        study.speed_up()
        study.until_events("finish", 1, "the trainer ends")
        study.cluster.start_controller()

    study.output_text = study.run(KD, meanwhile=meanwhile)


@pytest.mark.slow
@pytest.mark.scenario(play=the_controller_is_away_twice, where="interrupted")
def test_a_controller_that_is_away_costs_no_retries(played: OnCluster, undisturbed: str) -> None:
    assert "Trying to restart job" not in played.output_text
    assert played.output_text.count(BACK) == 2
    assert [job.state for job in played.submitted()] == ["COMPLETED"]
    record = played.record()
    assert record["digests"]["weights"] == undisturbed
    assert record["iterations"]["done"] == ITERATIONS
    assert len(record["segments"]) == 1
