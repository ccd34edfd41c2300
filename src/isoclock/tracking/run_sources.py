"""One run record, teacher record, profile or report as the run that MLflow should show."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from isoclock.budget.audit import audit_record
from isoclock.digests import Digests
from isoclock.errors import ArtifactError
from isoclock.files import sha256_json
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout, ScoreFiles, TrainedFiles
from isoclock.records.document import Measured, plain
from isoclock.records.profile import Profile
from isoclock.records.record import Record, StudentRecord, TeacherRecord
from isoclock.records.results import Results, scores_problem
from isoclock.records.run import Run, StudentRun, TeacherRun
from isoclock.records.scores import ScoreDocument
from isoclock.runner.ledger import Event, events
from isoclock.tracking.source import RunSource, add_numbers, flattened, sealed, texts
from isoclock.tracking.steps import settled_events, step_metrics

STALE_S = 1800.0
"""A live ledger without events for longer than this (no evaluation takes as long) belongs to a killed run."""

POINTS = 1000
"""Of a curve, at most (and a few more where a run was continued): what an eye can tell apart on a page."""


def student_source(results: Results, cell: Cell, run: StudentRecord | StudentRun) -> RunSource:
    """A student, published or live."""
    layout, plan, live = results.layout, run.plan, isinstance(run, StudentRun)
    source = _trained(results, cell.path, cell.dataset, layout.student_run(cell) if live else layout.student(cell), run)
    source.name = f"{cell.method} {cell.budget} seed {cell.seed}"
    source.params = (
        texts(
            method=cell.method,
            budget=cell.budget,
            seed=cell.seed,
            pair=cell.pair,
            protocol=plan.protocol,
            implementation=run.params.get("method", {}).get("implementation"),
        )
        | source.params
    )
    source.tags.setdefault("device_kind", plan.device_kind)  # a live run does not have it yet
    source.tags |= _origin("student")
    marks: tuple[str, ...] = tuple(plan.marks)
    if isinstance(run, StudentRecord):
        audited = audit_record(run)
        marks = audited.marks
        add_numbers(
            source,
            "work",
            spent_anchor_steps=audited.spent_anchor_steps,
            deviation=audited.deviation,
            contention=audited.contention,
        )
        _add_scores(source, layout.evaluation(cell), run, results.scores(cell))
    source.tags |= texts(marks=",".join(marks))
    profile = results.planned_profile(plan)
    add_numbers(source, "", cost_ratio=plan.cost_ratio)
    add_numbers(
        source,
        "work",
        planned_s=plan.planned_s,
        planned_anchor_steps=plan.anchor_steps,
        peak_mib=None if profile is None else profile.peak_mib,
    )
    return sealed(source, live)


def teacher_source(results: Results, dataset: str, model: str, run: TeacherRecord | TeacherRun) -> RunSource:
    """A teacher, published or live."""
    layout, live = results.layout, isinstance(run, TeacherRun)
    folder = layout.teacher_run(dataset, model) if live else layout.teacher(dataset, model)
    source = _trained(results, f"{dataset}/teacher/{model}", dataset, folder, run)
    source.name = f"teacher {model}"
    source.params = texts(model=model, seed=run.cell.seed) | source.params
    source.tags |= _origin("teacher")
    if isinstance(run, TeacherRecord):
        _add_scores(source, folder, run, results.teacher_scores(dataset, model))
    return sealed(source, live)


def profile_source(layout: Layout, path: Path, profile: Profile) -> RunSource:
    """A cost profile, which is a run of its own."""
    dataset, pair, method = profile.dataset, profile.pair, profile.method
    written_ms = round(profile.measured_unix * 1000)
    source = RunSource(
        f"{dataset}/{pair}/{method}/profile", sha256_json(plain(profile))[:32], "profile", dataset, f"profile {method}",
        "FINISHED", written_ms, written_ms, folder=_relative(layout, path.parent),
    )  # fmt: skip
    source.tags = texts(
        dataset=dataset,
        status="finished",
        marks=",".join(profile.marks) or None,
        device_kind=profile.device_kind,
        protocol_version=profile.protocol_version,
        **_origin("profile", profile.environment),
    )
    source.digests = _digests(profile)
    source.params = texts(method=method, pair=pair, implementation=profile.implementation) | flattened(
        {"threads": profile.threads, "precision": profile.precision, "batch": profile.batch, "crop": profile.crop}
    )
    names = ("sustained_ratio", "peak_mib", "loader_core_s", "energy_j")
    add_numbers(source, "", cost_ratio=profile.cost.ratio)
    add_numbers(source, "step", **{name: getattr(profile, name) for name in names})
    add_numbers(source, "step", cost_low=profile.cost.low, cost_high=profile.cost.high)
    add_numbers(source, "step", step_s=profile.step_s.median, anchor_s=profile.anchor_s.median)
    for group in ("shares", "gflops"):
        add_numbers(source, f"step/{group}", **plain(profile)[group])
    source.files = [(path, "")]
    return sealed(source, live=False)


def report_source(layout: Layout, dataset: str, grid: str) -> RunSource | None:
    """The report of a grid, as a run, so that the pages of MLflow can show it; None if there is none yet."""
    page = layout.report_page(grid)
    if not page.is_file():
        return None
    written_ms = round(page.stat().st_mtime * 1000)
    source = RunSource(
        f"{dataset}/report/{grid}", f"report-{grid}", "report", dataset, f"report {grid}", "FINISHED", written_ms,
        written_ms, tags=texts(dataset=dataset, status="finished", **_origin("report")),
        files=[(page, ""), *((table, "") for table in sorted(page.parent.glob("*.csv")))],
        folder=_relative(layout, page.parent),
    )  # fmt: skip
    return sealed(source, live=False)


def _trained(results: Results, key: str, dataset: str, folder: Path, run: Record | Run) -> RunSource:
    """What teachers and students have in common."""
    live, kind = isinstance(run, Run), "student" if isinstance(run, StudentRecord | StudentRun) else "teacher"
    every = max(1, -(-run.iterations.planned // POINTS))
    problems: list[str] = []
    found = list(events(TrainedFiles(folder).ledger, every=every, problems=problems))
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    last: Event = found[-1] if found else {"event": "start", "unix": run.started_unix, "iteration": 0}
    if isinstance(run, Record):
        (status, own_status), ended_unix = _ended_status(run.status), run.ended_unix
    else:
        (status, own_status), ended_unix = _live_status(last), last["unix"]
    source = RunSource(
        key, run.run_id, kind, dataset, key, status, round(run.started_unix * 1000), round(ended_unix * 1000),
        params=texts(precision=run.params["recipe"].get("precision")) | flattened(dict(run.params)),
        steps=step_metrics(settled_events(found, final=not live), every), digests=_digests(run),
        network=_network(dict(run.params), kind),
        folder=_relative(results.layout, folder),
    )  # fmt: skip
    source.tags = texts(dataset=dataset, status=own_status, protocol_version=run.protocol_version)
    if not isinstance(run, Record):
        source.tags |= texts(message=last.get("message") if last["event"] == "failed" else None)
        return source
    source.tags |= texts(message=run.message or None, device_kind=run.hardware.device_kind, device=run.hardware.device)
    source.tags |= _origin("", run.environment)
    source.final_iteration = run.iterations.done
    names = ("evaluate_s", "io_s", "startup_s", "lost_s")
    add_numbers(source, "work", iterations=run.iterations.done, planned_iterations=run.iterations.planned)
    add_numbers(source, "work", spent_s=run.clock.train_s, **{name: getattr(run.clock, name) for name in names})
    if run.best is not None:
        add_numbers(source, "val", best_miou=run.best.miou, best_iteration=run.best.iteration)
    files = TrainedFiles(folder)
    source.files = [(path, "") for path in (files.record, files.ledger) if path.is_file()]
    if files.weights.is_file():
        try:
            kept, what = Digests(results.layout.digests), "the weights that record.json names"
            kept.check(files.weights, run.digests.weights, what, "left out: copy them back, or train again")
            source.weights = (files.weights, run.digests.weights)
        except ArtifactError as error:
            results.problems += error.problems
    return source


def _add_scores(source: RunSource, folder: Path, record: Record, scores: ScoreDocument | None) -> None:
    """Add the scores of a run; none if those on disk are not its own, until `evaluate` has scored the new weights."""
    if scores is None or scores_problem(record, scores) is not None:
        return
    source.per_class_iou = scores.per_class_iou
    add_numbers(source, "", miou=scores.miou)
    add_numbers(source, "val", **scores.metrics)
    add_numbers(source, "val/iou", **source.per_class_iou)
    files = ScoreFiles(folder)
    source.files.append((files.scores, ""))
    source.files += [(overlay, "overlays") for overlay in sorted(files.overlays.glob("*.png"))]


def _origin(verb: str, environment: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Tags that MLflow shows as the source of a run: the verb that made it, and the commit."""
    named = {"mlflow.source.name": f"isoclock {verb}"} if verb else {}
    return named | texts(**{"mlflow.source.git.commit": environment.get("commit")})


def _network(params: dict[str, Any], kind: str) -> dict[str, Any]:
    """What the weights of a run are of: the entry of params/models.yaml, and the names of the classes."""
    return {"model": params.get("model") if kind == "teacher" else params.get("student"), "classes": params["classes"]}


def _digests(document: Measured) -> dict[str, str]:
    """The digests of a record or profile; null ones are left out."""
    return {name: value for name, value in plain(document)["digests"].items() if value is not None}


def _relative(layout: Layout, folder: Path) -> str:
    """A folder below results/ or runs/, from the study's folder."""
    root = layout.results if folder.is_relative_to(layout.results) else layout.runs
    return folder.relative_to(root.parent).as_posix()


def _live_status(last: Event) -> tuple[str, str]:
    if last["event"] == "stop":
        return "KILLED", "stopped"
    if last["event"] == "failed":
        return "FAILED", str(last.get("reason", "failed"))
    if time.time() - last["unix"] > STALE_S:
        return "KILLED", "silent"
    return "RUNNING", "running"


def _ended_status(status: str) -> tuple[str, str]:
    return ("FINISHED" if status == "finished" else "FAILED"), status
