"""Disturbed jobs lose nothing, and their weights are those of an undisturbed run."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable

import pytest
from scenario import KD, OnCluster
from studies import ITERATIONS

from isoclock.dag.resources import RUNTIME_MARGIN

pytestmark = pytest.mark.xdist_group("slurm")

STEP_S = 1.5  # of a step that is slow: more than two jobs' worth of them
# Each of two jobs gets its signal three minutes before a limit of five, which SLURM checks twice a minute. A profile measures
# at most a hundred slow steps.
LONG = {"long": True, "jobs": 5, "waits_s": 2 * 180 + 100 * STEP_S}
# How often a student's job may be submitted again; Snakemake knows it at its start but does not print it.
RETRIES = """

import sys as _sys


onstart:
    print(f"a student is submitted again: {workflow.get_rule('student').restart_times} times", file=_sys.stderr)
"""


def asked_to_stop_twice(study: OnCluster) -> None:
    """SIGTERM to every process of the job's steps, loader processes included: what --signal does before a time limit."""

    def stop(job: str) -> None:
        for _ in range(2):
            study.cluster.ask("scancel", "--signal=TERM", job)

    disturbed(study, stop)


def asked_to_stop_where_sacct_is_asked(study: OnCluster) -> None:
    """With a custom profile, on a cluster with accounting."""

    def stop(job: str) -> None:
        study.cluster.ask("scancel", "--signal=TERM", job)

    disturbed(study, stop, "--slurm-status-command", "sacct")
    # Jobs of other tests on this cluster have another account.
    assert study.cluster.ask("sacct", "-X", "-n", "-A", "root", "-o", "State").split() == ["FAILED", "COMPLETED"]


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
    """Three jobs and the two real time limits between them. None is to spare: how many there may be comes from the plan."""
    study.settle(partition="brief", spare_retries=0)
    study.slow_down(STEP_S)
    shutil.rmtree(study.clone.folder / "runs/accepted/profile")
    study.isoclock("profile", "streets", "tiny", "kd")
    study.isoclock("plan", "streets", "tiny", "iteration-6", "kd")
    with (study.clone.folder / "Snakefile").open("a") as snakefile:
        snakefile.write(RETRIES)

    def meanwhile() -> None:
        study.until_events("stop", 2, "the second time limit comes")
        study.until_events("start", 3, "the third job trains")
        study.speed_up()

    study.output_text = study.run(KD, meanwhile=meanwhile)


def disturbed(study: OnCluster, disturb: Callable[[str], object], *options: str, **site: str) -> None:
    """Train a student, do something to the first job in which it trains, and let it go on to its end."""
    study.settle(**site)
    study.slow_down(0.05)

    def meanwhile() -> None:
        disturb(str(study.job_that_trains()))
        study.until_events("stop", 1, "the trainer stops")
        study.speed_up()

    study.output_text = study.run(KD, *options, meanwhile=meanwhile)


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(
            scenario,
            marks=[
                pytest.mark.scenario(
                    play=scenario,
                    where="accounted" if scenario is asked_to_stop_where_sacct_is_asked else "cluster",
                    **(LONG if scenario is longer_than_a_job else {}),
                ),
                *([] if scenario is preempted_where_jobs_are_requeued else [pytest.mark.slow]),
            ],
            id=scenario.__name__,
        )
        for scenario in (
            longer_than_a_job,
            asked_to_stop_twice,
            asked_to_stop_where_sacct_is_asked,
            requeued,
            cancelled,
            preempted_where_jobs_are_requeued,
            preempted_where_jobs_are_cancelled,
        )
    ],
)
def test_the_weights_are_those_of_an_undisturbed_run(scenario: object, played: OnCluster, undisturbed: str) -> None:
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
    events = played.events()
    assert [event["reason"] for event in events if event["event"] == "stop"] == ["SIGTERM"] * (len(segments) - 1)


@pytest.mark.slow
@pytest.mark.scenario(play=longer_than_a_job, **LONG)
def test_a_run_is_submitted_as_often_as_its_plan_says(played: OnCluster) -> None:
    plan = json.loads((played.clone.folder / "results/plan/streets/tiny/kd/iteration-6.json").read_text())
    assert plan["planned_s"] > 0.9 * STEP_S * ITERATIONS, "steps were slow when they were measured"
    # A job of five minutes has none left for training once its overhead is taken off: Site counts on one.
    allowed = math.ceil(plan["planned_s"] * RUNTIME_MARGIN / 60)
    assert f"a student is submitted again: {allowed} times" in played.output_text
    jobs = played.submitted()
    assert len(jobs) >= 3
    assert [job.state for job in jobs] == ["FAILED"] * (len(jobs) - 1) + ["COMPLETED"]
    assert {job.limit for job in jobs} == {"5:00"}, "the partition's; the plan would take longer"
    assert played.output_text.count("Trying to restart job") == len(jobs) - 1 <= allowed
    assert len(played.record()["segments"]) >= 3
