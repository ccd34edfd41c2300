"""The text that `isoclock status` prints: a line for each stage, then running, failed and stopped jobs. Fits 80 columns."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable

from isoclock.dag.status import GridStatus, JobStatus, State
from isoclock.text import printable

NARROWEST, WIDEST = 80, 120
AT_MOST = 20  # jobs of a list
_COLUMNS: tuple[State, ...] = ("done", "running", "queued", "failed", "waiting")
_TRAINING = ("teacher", "student")


def status_text(found: GridStatus, width: int | None = None) -> str:
    """The page for a terminal of `width` columns (by default that of this terminal, from 80 to 120)."""
    if width is None:
        width = min(WIDEST, max(NARROWEST, shutil.get_terminal_size((NARROWEST, 24)).columns))
    cells = found.of("student")
    trained, scored = (sum(job.state == "done" for job in jobs) for jobs in (cells, found.of("evaluate")))
    lines = [
        *textwrap.wrap(
            f"Grid {found.grid}: {trained:,} of {len(cells):,} cells are trained, {scored:,} are scored", width
        ),
        "",
        f"{'stage':16}{'jobs':>7}" + "".join(f"{name:>8}" for name in _COLUMNS) + f"{'used':>8}{'left':>9}",
    ]
    for rule in dict.fromkeys(job.rule for job in found.jobs):
        lines.append(_row(rule, found.of(rule), found))
    lines += ["", _budget(cells)]
    if found.queue == "unknown":
        lines.append("Queued: unknown, because SLURM did not answer within 2 s.")
    for state, title in (("running", "Running"), ("failed", "Failed"), ("stopped", "Stopped, state saved")):
        lines += _listed(title, [job for job in found.jobs if job.state == state], width)
    lines += _listed("Diverged", [job for job in found.jobs if job.state == "done" and job.reason], width)
    return "\n".join(lines) + "\n"


def in_words(seconds: float) -> str:
    """A duration in seconds, minutes or hours: `45 s`, `12 min`, `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 3600:.0f} h"


def _row(rule: str, jobs: list[JobStatus], found: GridStatus) -> str:
    counts = {state: sum(job.state == state for job in jobs) for state in _COLUMNS}
    counts["waiting"] += sum(job.state == "stopped" for job in jobs)  # they wait for the next start
    shown = {state: f"{count:,}" if count else "-" for state, count in counts.items()}
    if found.queue == "unknown" and counts["waiting"]:
        shown["queued"] = "?"
    used = left = ""
    if rule in _TRAINING:
        used, times = in_words(sum(job.train_s for job in jobs)), [job.left_s for job in jobs]
        left = "?" if None in times else in_words(sum(filter(None, times)))
        if None in times and any(times):
            left = f">{in_words(sum(filter(None, times)))}"
    return (
        f"{rule:16}{len(jobs):>7,}" + "".join(f"{shown[name]:>8}" for name in _COLUMNS) + f"{used:>8}{left:>9}".rstrip()
    )


def _budget(cells: list[JobStatus]) -> str:
    """Train time of the students so far, compared with that of all plans."""
    planned = [cell.planned_s for cell in cells if cell.planned_s is not None]
    without = len(cells) - len(planned)
    note = f"; {without:,} cells have no plan yet" if without else ""
    if not sum(planned):
        return f"Budget: nothing is planned yet{note}."
    used_s = sum(cell.train_s for cell in cells if cell.planned_s is not None)
    return f"Budget: {used_s / sum(planned):.0%} of {in_words(sum(planned))} train time used{note}."


def _listed(title: str, jobs: list[JobStatus], width: int) -> Iterable[str]:
    if not jobs:
        return
    yield ""
    yield f"{title}:"
    for job in jobs[:AT_MOST]:
        text = f"{job.rule} {job.name}: {_detail(job)}".removesuffix(": ")
        yield from textwrap.wrap(printable(text), width, initial_indent="  ", subsequent_indent="    ")
    if len(jobs) > AT_MOST:
        yield f"  and {len(jobs) - AT_MOST:,} more"


def _detail(job: JobStatus) -> str:
    if job.state in ("failed", "done"):
        return job.reason or ""
    parts = []
    if job.iteration is not None and job.iterations:
        parts.append(f"{job.iteration:,}/{job.iterations:,} ({job.iteration / job.iterations:.0%})")
    if job.loss is not None:
        parts.append(f"loss {job.loss:.3f}")
    if job.planned_s and job.train_s:
        parts.append(f"{job.train_s / job.planned_s:.0%} of its budget used")
    if job.iteration and job.left_s is not None:
        parts.append(f"{in_words(job.left_s)} left")
    return ", ".join(parts)
