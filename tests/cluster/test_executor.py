"""The executor's own code, with stand-ins for SLURM's programs; tests/slurm stops a real controller."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.cli import ExecutorPluginRegistry
from snakemake_executor_plugin_slurm import Executor, SubmittedJobInfo

from isoclock.cluster import executor as executor_module
from isoclock.cluster.executor import UNREACHABLE, Outage, WaitingExecutor, use_waiting_executor


@pytest.mark.parametrize(
    ("printed", "waits"),
    [
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", True),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
        ("sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received", True),
        ("sbatch: error: If munged is up, restart with --num-threads=10", True),
        ("sshare: error: Problem talking to the database: Connection refused", True),
        ("sbatch: error: Batch job submission failed: Invalid partition name specified", False),
        (
            "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)",
            False,
        ),
        ("sbatch: error: AssocMaxSubmitJobLimit", False),
    ],
)
def test_what_sbatch_prints_about_a_controller(printed: str, waits: bool) -> None:
    assert bool(UNREACHABLE.search(printed)) == waits


def test_an_outage_is_reported_once_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logging.getLogger("outage"))
    outage.over()
    outage.seen()
    outage.seen()
    outage.over()
    outage.over()
    assert outage.count == 1
    assert [record.message.partition(" (")[0].partition(" after")[0] for record in caplog.records] == [
        "isoclock: SLURM's controller does not answer",
        "isoclock: SLURM's controller answers again",
    ]


def test_a_long_outage_is_reported_again(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "REPORT_EVERY_S", 0.0)
    outage = Outage(logging.getLogger("outage"))
    outage.seen()
    outage.seen()
    assert len(caplog.records) == 2


def test_the_plugins_executor_is_replaced() -> None:
    plugin = ExecutorPluginRegistry().get_plugin("slurm")
    before = plugin.executor
    try:
        use_waiting_executor()
        assert plugin.executor is WaitingExecutor
    finally:
        plugin.executor = before


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put stand-ins for SLURM's programs on the path, each a line of shell."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def put(**scripts: str) -> None:
        for name, script in scripts.items():
            (tmp_path / "part").write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / "part").chmod(0o755)
            (tmp_path / "part").rename(tmp_path / name)  # a thread may be about to start it

    return put


@pytest.fixture
def running(programs: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WaitingExecutor:
    """An executor whose thread that checks jobs sleeps."""
    monkeypatch.chdir(tmp_path)
    programs(scontrol="exit 1", sacct="exit 1", squeue="exit 1")
    settings = SimpleNamespace(
        exclude_failed_nodes=None,
        jobname_prefix="",
        array_jobs=None,
        array_limit=1000,
        logdir=None,
        partition_config=None,
        status_command="squeue",
        status_attempts=2,
        init_seconds_before_status_checks=1,
        delete_logfiles_older_than=0,
        keep_successful_logs=True,
        efficiency_report=False,
    )
    ended: list[object] = []
    workflow = SimpleNamespace(
        dag=None,
        main_snakefile="Snakefile",
        executor_settings=settings,
        remote_execution_settings=SimpleNamespace(
            max_status_checks_per_second=100,
            seconds_between_status_checks=10,
            immediate_submit=False,
            jobname="{jobid}",
            jobscript=None,
        ),
        storage_settings=SimpleNamespace(shared_fs_usage=()),
        executor_plugin=SimpleNamespace(common_settings=SimpleNamespace(init_seconds_before_status_checks=1000)),
        scheduler=SimpleNamespace(finish_callback=ended.append, error_callback=ended.append, ended=ended),
    )
    return WaitingExecutor(workflow, logging.getLogger("executor"))


class Job:
    """As much of Snakemake's job as the executor asks for."""

    name, wildcards = "student", ["kd"]

    def log_error(self, message: str, **named: object) -> None:
        self.error = message


def checked(executor: WaitingExecutor, *numbers: str) -> list[str]:
    """Numbers of the jobs that are still active after a check."""
    jobs = [SubmittedJobInfo(SimpleNamespace(name=number), number, {"slurm_logfile": None}) for number in numbers]

    async def check() -> list[str]:
        return [job.external_jobid async for job in executor.check_active_jobs(jobs)]

    return asyncio.run(check())


def test_jobs_are_kept_while_squeue_fails_and_then_looked_up(
    programs: Callable[..., None], running: WaitingExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    assert checked(running, "7", "8") == ["7", "8"]
    assert "does not answer" in caplog.text
    programs(scontrol="echo 'MinJobAge = 300 sec'; echo 'Slurmctld(primary) at head is UP'")
    programs(squeue="case \"$*\" in *'|'*) echo '7|RUNNING';; *) echo 7;; esac")
    assert checked(running, "7", "8") == ["7"], "8 is no longer listed"
    assert [job.name for job in running.workflow.scheduler.ended] == ["8"]
    assert "answers again" in caplog.text
    assert checked(running, "7", "9") == ["7", "9"], "outside outages a job that is not listed may be new"


def test_a_submission_that_finds_no_controller_is_repeated_and_what_it_left_is_cancelled(
    programs: Callable[..., None], running: WaitingExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted = threading.Event()
    monkeypatch.setattr(executor_module, "ASK_EVERY_S", 0.01)
    monkeypatch.setattr(Executor, "run_job", lambda self, job: submitted.set())
    running.report_job_error(SubmittedJobInfo(Job()), "'Socket timed out on send/recv operation'")
    assert not submitted.wait(0.1)
    programs(
        squeue="echo '3|rule_student_wildcards_kd'; echo '4|rule_student_wildcards_mgd'", scancel="echo $* >> cancelled"
    )
    programs(scontrol="echo 'Slurmctld(primary) at head is UP'")
    assert submitted.wait(10)
    assert (tmp_path / "cancelled").read_text() == "3\n"
    assert running.workflow.scheduler.ended == [], "no retry is used"


def test_a_submission_that_waits_ends_with_snakemake(running: WaitingExecutor) -> None:
    running.report_job_error(SubmittedJobInfo(Job()), "Unable to contact slurm controller")
    running.wait_thread = threading.Thread(target=int)  # the one that checks jobs sleeps for long
    running.wait_thread.start()
    (Path(".snakemake")).mkdir()
    running.cancel()
    running.run_job(Job())
    assert running.workflow.scheduler.ended == []


def test_a_job_that_slurm_rejects_fails_at_once(programs: Callable[..., None], running: WaitingExecutor) -> None:
    programs(scontrol="echo 'Slurmctld(primary) at head is UP'")
    job = Job()
    running.report_job_error(SubmittedJobInfo(job), "'Invalid partition'. sbatch call: sbatch -D /data/munge")
    assert running.workflow.scheduler.ended == [job]
    assert "Invalid partition" in job.error


def test_after_half_a_day_a_submission_fails(running: WaitingExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "WAIT_S", 0.0)
    job = Job()
    running.report_job_error(SubmittedJobInfo(job), "Unable to contact slurm controller")
    assert running.workflow.scheduler.ended == [job]
