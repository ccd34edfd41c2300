"""Nodes that are lost with their jobs: the run continues on another node, and lost time is counted."""

from __future__ import annotations

import pytest
from scenario import KD, OnCluster
from studies import ITERATIONS

pytestmark = pytest.mark.xdist_group("slurm")
WAITS_S = 240  # until the new trainer may take over the lease of another host (90), and SLURM requeues


def a_node_is_lost_and_its_job_requeued(study: OnCluster) -> None:
    node_lost(study, "fragile")


def a_node_is_lost_with_its_job(study: OnCluster) -> None:
    node_lost(study, "brittle", "--slurm-no-requeue")


def node_lost(study: OnCluster, node: str, *options: str) -> None:
    """Kill the node on which a student trains; another one has a GPU of its type too."""
    study.settle(partition="mortal", gpu_model=node)
    study.slow_down(0.05)

    def meanwhile() -> None:
        study.cluster.lose(node, study.job_that_trains())
        study.until_events("start", 2, "the run goes on elsewhere")
        study.speed_up()

    study.output_text = study.run(KD, *options, meanwhile=meanwhile)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "resubmitted"),
    [
        pytest.param(
            scenario, resubmitted, marks=pytest.mark.scenario(play=scenario, waits_s=WAITS_S), id=scenario.__name__
        )
        for scenario, resubmitted in ((a_node_is_lost_and_its_job_requeued, 0), (a_node_is_lost_with_its_job, 1))
    ],
)
def test_a_run_survives_its_node_and_counts_what_is_lost(
    scenario: object, resubmitted: int, played: OnCluster, undisturbed: str
) -> None:
    record = played.record()
    assert record["digests"]["weights"] == undisturbed
    assert record["iterations"] == {"planned": ITERATIONS, "done": ITERATIONS}
    events = played.events()
    assert [event["iteration"] for event in events if event["event"] == "start"] == [0, 0], "nothing was saved yet"
    _, second = (place for place, event in enumerate(events) if event["event"] == "start")
    recorded_s = max(event["train_s"] for event in events[:second] if "train_s" in event)
    assert recorded_s > 0
    assert record["clock"]["lost_s"] == pytest.approx(recorded_s, rel=0.01)
    assert played.output_text.count("Trying to restart job") == resubmitted
    assert ("NODE_FAIL" in played.output_text) == bool(resubmitted)
