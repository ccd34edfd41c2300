"""Snakemake's SLURM executor, made to wait while SLURM's controller does not answer.

The executor (2.8) counts a failing sbatch as a failed job, which costs a retry. If squeue fails five times, it forgets the
jobs that it asked about, and Snakemake waits for them forever.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from snakemake.cli import ExecutorPluginRegistry
from snakemake_executor_plugin_slurm import Executor, SubmittedJobInfo, get_job_wildcards

from isoclock.cluster import slurm

ASK_EVERY_S = 10.0
REPORT_EVERY_S = 600.0
WAIT_S = 12 * 3600.0  # after that, a submission that still fails uses a retry
# What sbatch prints if it failed because of the controller or the way to it, not because of the job.
UNREACHABLE = re.compile(
    "unable to contact|connection (refused|reset|timed out)|timed out on|zero bytes were|communications? |unable to accept|"
    "munge|standby mode",
    re.IGNORECASE,
)


def use_waiting_executor() -> None:
    """Let this process's Snakemake submit with `WaitingExecutor` where its executor is `slurm`."""
    ExecutorPluginRegistry().get_plugin("slurm").executor = WaitingExecutor


class WaitingExecutor(Executor):
    """The SLURM executor, except that an unreachable controller costs no retries and loses no jobs."""

    def __init__(self, workflow: Any, logger: Any) -> None:
        # Before the executor's own, which starts the thread that checks jobs.
        self._cancelled = threading.Event()
        self._outage = Outage(logger)
        self._failing_since: dict[Any, float] = {}  # submissions, by job
        self._ended: set[str] = set()  # numbers of jobs whose end was found in the current check
        self._looked_up = 0  # outages after which jobs were looked up
        super().__init__(workflow, logger)

    def cancel(self) -> None:
        """Cancel all jobs; those that are not submitted yet will not be."""
        self._cancelled.set()
        super().cancel()

    def run_job(self, job: Any) -> None:
        """Submit a job."""
        if not self._cancelled.is_set():
            super().run_job(job)

    def report_job_submission(self, job_info: SubmittedJobInfo, register_job: bool = True) -> None:
        """Note that a job has a number."""
        self._failing_since.pop(job_info.job, None)
        self._outage.over()
        super().report_job_submission(job_info, register_job=register_job)

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        """Note that a job has ended without an error."""
        self._ended.add(job_info.external_jobid)
        super().report_job_success(job_info)

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **kwargs: Any) -> None:
        """Note that a job has failed; one that could not reach the controller is submitted again later instead."""
        if job_info.external_jobid is not None:
            self._ended.add(job_info.external_jobid)
        elif not self._cancelled.is_set() and _is_unreachable(msg or ""):
            since = self._failing_since.setdefault(job_info.job, time.monotonic())
            if time.monotonic() - since < WAIT_S:
                self._outage.seen()
                self._job_submission_executor.submit(self._submit_later, job_info.job)
                return
        super().report_job_error(job_info, msg=msg, **kwargs)

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncIterator[SubmittedJobInfo]:
        """Ask SLURM for the states of jobs; yields those that have not ended, or of which it says nothing."""
        self._ended.clear()
        active = [job async for job in super().check_active_jobs(active_jobs)]
        known = self._ended | {job.external_jobid for job in active}
        unknown = [job for job in active_jobs if job.external_jobid not in known]
        if unknown:
            self._outage.seen()
        elif active_jobs and self._outage.count != self._looked_up and slurm.controller_answers():
            self._outage.over()
            self._looked_up = self._outage.count
            active = self._still_listed(active)
        for job in [*active, *unknown]:
            yield job

    def _submit_later(self, job: Any) -> None:
        while not self._cancelled.wait(ASK_EVERY_S):
            if slurm.controller_answers() or time.monotonic() - self._failing_since[job] > WAIT_S:
                self._cancel_unnoticed(job)
                self.run_job(job)
                return
            self._outage.seen()

    def _cancel_unnoticed(self, job: Any) -> None:
        """Cancel what sbatch has submitted for a job although the answer did not reach it."""
        comment = "_wildcards_".join(filter(None, [f"rule_{job.name}", get_job_wildcards(job)]))
        lines = self._listed("--states=pending,running", "-o", "%i|%k") or []
        for number in [line.partition("|")[0] for line in lines if line.partition("|")[2] == comment]:
            slurm.ask("scancel", number)

    def _still_listed(self, active: Sequence[SubmittedJobInfo]) -> list[SubmittedJobInfo]:
        """The jobs that squeue lists. During an outage the others were forgotten (MinJobAge): their outputs decide."""
        listed = self._listed("--states=all", "-o", "%i")
        for job in active:
            if listed is not None and job.external_jobid not in listed:
                self.logger.warning(f"SLURM no longer lists job {job.external_jobid}; its outputs decide.")
                self.report_job_success(job)
        return [job for job in active if job.external_jobid not in self._ended]

    def _listed(self, *options: str) -> list[str] | None:
        answer = slurm.ask("squeue", "-h", "--name", self.run_uuid, *options)
        return answer.output.splitlines() if answer is not None and answer.status == 0 else None


def _is_unreachable(message: str) -> bool:
    printed, _, _ = message.partition("sbatch call:")
    return bool(UNREACHABLE.search(printed)) or not slurm.controller_answers()


class Outage:
    """A time in which the controller does not answer, with messages when it starts, every ten minutes, and when it ends."""

    def __init__(self, logger: Any) -> None:
        self.count = 0
        self._logger = logger
        self._lock = threading.Lock()
        self._since: float | None = None
        self._next_report = 0.0

    def seen(self) -> None:
        """The controller did not answer."""
        with self._lock:
            now = time.monotonic()
            if self._since is None:
                self._since = now
                self.count += 1
            if now < self._next_report:
                return
            self._next_report = now + REPORT_EVERY_S
            minutes = (now - self._since) / 60
        self._logger.warning(
            f"isoclock: SLURM's controller does not answer ({minutes:.0f} min so far). No retries are used; jobs are submitted "
            f"once it answers, for up to {WAIT_S / 3600:.0f} h. Check `scontrol ping`."
        )

    def over(self) -> None:
        """It answered."""
        with self._lock:
            since, self._since, self._next_report = self._since, None, 0.0
        if since is not None:
            self._logger.warning(
                f"isoclock: SLURM's controller answers again after {(time.monotonic() - since) / 60:.1f} min."
            )
