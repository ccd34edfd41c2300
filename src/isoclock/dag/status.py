"""How far a grid is: every job with its state, from outputs, ledgers and one question to SLURM.

It reads a few KiB of each ledger, however long that is, and each plan once. It writes nothing and waits for nobody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from isoclock.cluster import slurm
from isoclock.grid.cells import Cell
from isoclock.grid.dependencies import Job
from isoclock.grid.jobs import SYNC_STAGES, GridJobs
from isoclock.grid.layout import SNAKEMAKE_LOCKS, RunFiles
from isoclock.locks import owner_of
from isoclock.runner.ledger import newest_first
from isoclock.runner.progress_file import ProgressFile

State = Literal["done", "running", "queued", "stopped", "failed", "waiting"]
Queue = Literal["read", "none", "unknown"]

QUEUE_TIMEOUT_S = 2.0
RULES = ("prepare", "teacher", "evaluate_teacher", "teacher_gate", "profile", "budget", "plan", "student", "evaluate")
_LOG_TAIL = 2048  # bytes
# How the last line of a log begins where its verb failed: a line for the user, or the end of a traceback.
_FAILED = re.compile(r"isoclock: (?!stopped, state saved)|[\w.]*(?:Error|Exception)\b")
_WITH_TRAIN_S = ("train", "pretrain", "start")


@dataclass(frozen=True)
class JobStatus:
    """A job of a grid. Times are seconds on the train clock; what is not known is None."""

    rule: str
    name: str  # such as streets/demo/kd/compute-300/0
    state: State
    iteration: int | None = None
    iterations: int | None = None  # planned
    loss: float | None = None  # as last logged
    train_s: float = 0.0
    planned_s: float | None = None
    reason: str | None = None  # why it failed, diverged or stopped

    @property
    def left_s(self) -> float | None:
        """Train time left: at the speed so far, or else as planned. 0 where the job is done."""
        if self.state == "done":
            return 0.0
        if self.iteration and self.iterations:
            return self.train_s / self.iteration * max(0, self.iterations - self.iteration)
        return self.planned_s


@dataclass(frozen=True)
class GridStatus:
    """All jobs of a grid in the order of the rules. `queue` says whether SLURM was asked: it answered, is absent, or did not."""

    grid: str
    jobs: tuple[JobStatus, ...]
    queue: Queue

    def of(self, rule: str) -> list[JobStatus]:
        """The jobs of a rule."""
        return [job for job in self.jobs if job.rule == rule]


def grid_status(jobs: GridJobs) -> GridStatus:
    """The state of every job of a grid now. Takes at most two seconds more where SLURM does not answer."""
    queue, queued = _queue()
    reader = _Reader(jobs, queued)
    return GridStatus(jobs.grid, tuple(reader.status(job) for job in _all(jobs)), queue)


def _all(jobs: GridJobs) -> Iterator[Job]:
    """All jobs, with the outputs only of those that read the whole grid: to list their inputs takes as long as all the rest."""
    for rule in RULES:
        yield from jobs.of(rule)
    yield Job("report", {"grid": jobs.grid}, {}, {"page": jobs.layout.report_page(jobs.grid)})
    for stage in SYNC_STAGES:
        words = {"grid": jobs.grid, "stage": stage}
        yield Job("sync", words, {}, {"mark": jobs.layout.sync_mark(**words)})


@dataclass(frozen=True)
class _Reader:
    jobs: GridJobs
    queued: Mapping[str, str]  # states of SLURM by comment of the executor
    plans: dict[Path, dict[str, Any]] = field(default_factory=dict)

    def status(self, job: Job) -> JobStatus:
        found = JobStatus(job.rule, "/".join(job.wildcards.values()), "waiting")
        done = next(iter(job.outputs.values())).is_file()
        if job.rule in ("teacher", "student"):
            return self._training(job, found, done)
        if done:
            return replace(found, state="done")
        return self._elsewhere(job, found)

    def _training(self, job: Job, found: JobStatus, done: bool) -> JobStatus:
        words, layout = job.wildcards, self.jobs.layout
        if job.rule == "student":
            cell = Cell(words["dataset"], words["pair"], words["method"], words["budget"], int(words["seed"]))
            plan, folder = self._plan(job.inputs["plan"][0]), layout.student_run(cell)
            found = replace(found, iterations=plan.get("iterations"), planned_s=plan.get("planned_s"))
        else:
            folder = layout.teacher_run(words["dataset"], words["model"])
            if not self.jobs.params.is_imported(words["model"]):
                found = replace(found, iterations=self.jobs.params.recipe(words["dataset"], "teacher").iterations)
        found = _logged(found, job.outputs["ledger"] if done else RunFiles(folder).ledger)
        if job.rule == "student" and self._is_copy(job, found):
            found = replace(found, train_s=0.0, planned_s=0.0)
        if done:
            return replace(found, state="done")
        if owner_of(RunFiles(folder).lease) is not None:
            now = ProgressFile(folder).read() or (found.iteration, found.train_s)
            return replace(found, state="running", iteration=now[0], train_s=now[1], reason=None)
        return self._elsewhere(job, found)

    def _elsewhere(self, job: Job, found: JobStatus) -> JobStatus:
        """The state of a job that is neither done nor seen to train: as SLURM, its ledger or its log says."""
        asked = self.queued.get("_".join([f"rule_{job.rule}_wildcards", *job.wildcards.values()]).replace("/", "_"))
        if asked is not None:
            return replace(found, state="running" if asked == "RUNNING" else "queued", reason=None)
        if found.state in ("failed", "stopped"):
            return found
        log = self.jobs.layout.log(job.rule, *job.wildcards.values())
        try:
            with log.open("rb") as stream:
                stream.seek(max(0, log.stat().st_size - _LOG_TAIL))
                last = stream.read(_LOG_TAIL).decode(errors="replace").strip().rpartition("\n")[2]
            if _FAILED.match(last):
                return replace(found, state="failed", reason=last.removeprefix("isoclock: "))
            if log.stat().st_mtime >= self._snakemake_since and job.rule not in ("teacher", "student"):
                return replace(found, state="running")
        except OSError:
            pass
        return found

    def _is_copy(self, job: Job, found: JobStatus) -> bool:
        """Whether the job publishes the result of another cell of the grid, which is the same training."""
        plans = (self.jobs.layout.plan(*record.parts[-6:-2]) for record in job.inputs["same"])
        return any(self._plan(plan).get("iterations") == found.iterations is not None for plan in plans)

    def _plan(self, path: Path) -> dict[str, Any]:
        """A plan, without a check of its values; empty if there is none. Seeds share it."""
        if path not in self.plans:
            try:
                content = json.loads(path.read_bytes())
                self.plans[path] = content if isinstance(content, dict) else {}
            except (OSError, ValueError):
                self.plans[path] = {}
        return self.plans[path]

    @cached_property
    def _snakemake_since(self) -> float:
        """When the Snakemake that works here was started (s since 1970); infinity if none does."""
        return min((path.stat().st_mtime for path in SNAKEMAKE_LOCKS.glob("*.lock")), default=float("inf"))


def _logged(found: JobStatus, ledger: Path) -> JobStatus:
    """`found` with what the newest events of a ledger say."""
    try:
        ended = False
        for event in newest_first(ledger):
            kind = event["event"]
            if kind in ("failed", "stop", "diverged") and not ended:
                reason = event.get("message") or event.get("reason")
                state: State = "failed" if kind == "failed" else "stopped" if kind == "stop" else found.state
                found = replace(found, state=state, reason=f"diverged: {reason}" if kind == "diverged" else str(reason))
            ended = ended or kind in ("failed", "stop", "diverged", "finish", *_WITH_TRAIN_S)
            if kind in _WITH_TRAIN_S:
                loss = event.get("loss")
                return replace(
                    found,
                    iteration=event["iteration"],
                    train_s=event.get("train_s", 0.0),
                    loss=loss if isinstance(loss, float) else None,
                )
    except OSError:  # a folder or a FIFO in its place, or a file system that fails
        pass
    return found


def _queue() -> tuple[Queue, dict[str, str]]:
    """Whether SLURM answered, and the states of this folder's jobs by the comment that Snakemake's executor gives them."""
    answer = slurm.ask("squeue", "--me", "--noheader", "--format=%T|%k|%Z", timeout_s=QUEUE_TIMEOUT_S)
    if answer is None or slurm.NOT_CONFIGURED in answer.output:
        return "none", {}
    if answer.status != 0:
        return "unknown", {}
    rows = [line.split("|", 2) for line in answer.output.splitlines()]
    here = str(Path.cwd())
    return "read", {row[1].strip("'\""): row[0] for row in rows if len(row) == 3 and row[2] == here}
