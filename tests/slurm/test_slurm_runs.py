"""Runs on a real SLURM, and what clusters do to them: nothing is lost, and the weights are those of an undisturbed run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from scenario import ITERATIONS, OnCluster

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.timeout(1500)]

KD = "results/student/streets/tiny/kd/iteration-6/0/record.json"


def the_demo_grid(study: OnCluster) -> None:
    study.settle(gpu_as="gres", gpu_model="null")
    study.told = study.run("all")


@pytest.mark.scenario(play=the_demo_grid, fresh=True)
def test_the_demo_grid_ends_with_its_report(played: OnCluster) -> None:
    folder = played.clone.folder
    page = (folder / "results/report/demo/report.html").read_text()
    assert "kd" in page
    assert (folder / "mlflow.db").is_file()
    submitted = set(re.findall(r"slurm_logs/rule_(\w+)/", played.told))
    assert submitted == {"prepare", "teacher", "evaluate_teacher", "profile", "student", "evaluate"}
    assert set(re.findall(r"^localrule (\w+):$", played.told, re.MULTILINE)) == {
        "budget",
        "plan",
        "report",
        "sync",
        "all",
    }


def told_to_stop_twice(study: OnCluster) -> None:
    """SIGTERM to every process of the job's steps, loader processes included: what --signal does before a time limit."""

    def stop(job: str) -> None:
        for _ in range(2):
            study.cluster.ask("scancel", "--signal=TERM", job)

    disturbed(study, stop)


def told_to_stop_where_sacct_is_asked(study: OnCluster) -> None:
    """By a profile of one's own, on a cluster that accounts."""

    def stop(job: str) -> None:
        study.cluster.ask("scancel", "--signal=TERM", job)

    disturbed(study, stop, "--slurm-status-command", "sacct")
    assert study.cluster.ask("sacct", "-X", "-n", "-o", "State").split() == ["FAILED", "COMPLETED"]


def requeued(study: OnCluster) -> None:
    disturbed(study, lambda job: study.cluster.ask("scontrol", "requeue", job))


def cancelled(study: OnCluster) -> None:
    disturbed(study, lambda job: study.cluster.ask("scancel", job))


def preempted_where_jobs_are_requeued(study: OnCluster) -> None:
    preempted(study, "hunted")


def preempted_where_jobs_are_cancelled(study: OnCluster) -> None:
    preempted(study, "doomed")


def preempted(study: OnCluster, partition: str) -> None:
    def come_first(_job: str) -> None:
        options = ["-p", f"urgent-{partition}", f"--gpus={partition}:1", "-t", "1", "--mem=50", "-o", "/dev/null"]
        study.cluster.ask("sbatch", "--parsable", *options, "--wrap", "true")

    disturbed(study, come_first, partition=partition, gpu_model=partition)


def longer_than_a_job(study: OnCluster) -> None:
    """A real time limit: of five minutes, SLURM sends the signal 180 to 210 s before their end."""
    disturbed(study, lambda _job: None, "--set-resources", "student:runtime=5", step_s=0.9)


def disturbed(
    study: OnCluster, disturb: Callable[[str], object], *options: str, step_s: float = 0.05, **site: str
) -> None:
    """Train a student, do something to the first job in which it trains, and let it go on to its end."""
    study.settle(**site)
    study.slow_down(step_s)

    def meanwhile() -> None:
        disturb(str(study.job_that_trains()))
        ledger = study.ledger()
        study.until(lambda: '"event": "stop"' in ledger.read_text(), "the trainer stops")
        study.speed_up()

    study.told = study.run(KD, *options, meanwhile=meanwhile)


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(
            scenario,
            marks=[
                pytest.mark.scenario(
                    play=scenario,
                    long=scenario is longer_than_a_job,
                    accounts=scenario is told_to_stop_where_sacct_is_asked,
                ),
                *([] if scenario is preempted_where_jobs_are_requeued else [pytest.mark.slow]),
            ],
            id=scenario.__name__,
        )
        for scenario in (
            longer_than_a_job,
            told_to_stop_twice,
            told_to_stop_where_sacct_is_asked,
            requeued,
            cancelled,
            preempted_where_jobs_are_requeued,
            preempted_where_jobs_are_cancelled,
        )
    ],
)
def test_the_run_goes_on_to_the_weights_of_an_undisturbed_one(
    scenario: object, played: OnCluster, undisturbed: str
) -> None:
    record = played.record()
    assert record["status"] == "finished"
    assert record["iterations"] == {"planned": ITERATIONS, "done": ITERATIONS}
    assert record["digests"]["weights"] == undisturbed
    segments = record["segments"]
    assert len(segments) >= 2
    assert [segment["ended"] for segment in segments] == ["stopped"] * (len(segments) - 1) + ["finished"]
    assert sum(segment["iterations"] for segment in segments) == ITERATIONS
    assert record["clock"]["train_s"] == pytest.approx(sum(segment["train_s"] for segment in segments))
    assert record["clock"]["lost_s"] == 0
    events = [json.loads(line) for line in played.ledger().read_text().splitlines()]
    assert [event["reason"] for event in events if event["event"] == "stop"] == ["SIGTERM"] * (len(segments) - 1)


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
        ledger = study.ledger()
        study.until(lambda: ledger.read_text().count('"event": "start"') == 2, "the run goes on elsewhere")
        study.speed_up()

    study.told = study.run(KD, *options, meanwhile=meanwhile)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "resubmitted"),
    [
        pytest.param(scenario, resubmitted, marks=pytest.mark.scenario(play=scenario), id=scenario.__name__)
        for scenario, resubmitted in ((a_node_is_lost_and_its_job_requeued, 0), (a_node_is_lost_with_its_job, 1))
    ],
)
def test_a_run_survives_its_node_and_counts_what_is_lost(
    scenario: object, resubmitted: int, played: OnCluster, undisturbed: str
) -> None:
    record = played.record()
    assert record["digests"]["weights"] == undisturbed
    assert record["iterations"] == {"planned": ITERATIONS, "done": ITERATIONS}
    events = [json.loads(line) for line in played.ledger().read_text().splitlines()]
    assert [event["iteration"] for event in events if event["event"] == "start"] == [0, 0], "nothing was saved yet"
    _, second = (place for place, event in enumerate(events) if event["event"] == "start")
    told_s = max(event["train_s"] for event in events[:second] if "train_s" in event)
    assert told_s > 0
    assert record["clock"]["lost_s"] == pytest.approx(told_s, rel=0.01)
    assert played.told.count("Trying to restart job") == resubmitted
    assert ("NODE_FAIL" in played.told) == bool(resubmitted)


def one_cell_fails(study: OnCluster) -> None:
    study.settle(spare_retries=0)
    study.told = study.run("students", broken="FitNet", status=1)


@pytest.mark.scenario(play=one_cell_fails)
def test_one_failed_cell_does_not_stop_the_others(played: OnCluster, undisturbed: str) -> None:
    assert played.record()["digests"]["weights"] == undisturbed
    assert not (played.clone.folder / "results/student/streets/tiny/fitnet/iteration-6/0/record.json").exists()
    assert "this method is broken" in played.told, "the log of the failed job is shown"
    assert len(re.findall(r"Trying to restart job", played.told)) == 1, "jobs needed (one) and none to spare"
