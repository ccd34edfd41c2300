"""What lies under results/ and runs/, read as the runs that MLflow should show. Knows nothing of MLflow."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from isoclock.budget.audit import audit_record
from isoclock.errors import ArtifactError
from isoclock.files import read_json, read_lines, sha256_file, sha256_json
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.records.protocol import version_of
from isoclock.tracking.source import RunSource, add_numbers, digest_tags, flattened, sealed, texts
from isoclock.tracking.steps import Event, settled_events, step_metrics

STALE_S = 1800.0
"""A live ledger that stays silent for longer than this (no evaluation takes as long) belongs to a killed run."""


def read_sources(
    layout: Layout, cells: list[Cell], problems: list[str], teachers_of: Iterable[str] = ()
) -> list[RunSource]:
    """Every teacher, profile and cell in reach of `cells` (none given: all there are).

    Teachers are those of the cells' data sets and of `teachers_of`, profiles those of their pairs. A run that was
    published is read from results/, one that lives from runs/; where a cell is being trained anew beside its older record,
    both are given, the older first. What cannot be read is left out and adds a line to `problems`.
    """
    pairs = {(cell.dataset, cell.pair) for cell in cells}
    datasets = {cell.dataset for cell in cells} | set(teachers_of)
    if not cells:
        cells = _cells_on_disk(layout)
        pairs = {(cell.dataset, cell.pair) for cell in cells} | _pairs_with_profiles(layout)
        datasets = {dataset for dataset, _ in pairs} | _datasets_with_teachers(layout)
    sources: list[RunSource] = []
    # (data set, digest of a teacher's weights) -> first pair there that uses it. A parent has children of its data set only.
    teacher_pairs: dict[tuple[str, str], str] = {}

    for cell in sorted(cells):
        for folder in (layout.student(cell), layout.student_run(cell)):
            for record, live in _read_record(folder, problems):
                used = (record.get("digests") or {}).get("teacher")
                if used:
                    teacher_pairs.setdefault((cell.dataset, used), f"{cell.dataset}/{cell.pair}")
                with _reported(problems, folder):
                    sources.append(_student(layout, cell, folder, record, live))
    for dataset, pair in sorted(pairs):
        for path in sorted(layout.profile(dataset, pair, "x").parent.glob("*.json")):
            with _reported(problems, path):
                sources.append(_profile(path, dataset, pair))
    for dataset in sorted(datasets):
        models = {path.name for root in _teacher_roots(layout, dataset) if root.is_dir() for path in root.iterdir()}
        for model in sorted(models):
            for folder in (layout.teacher(dataset, model), layout.teacher_run(dataset, model)):
                for record, live in _read_record(folder, problems):
                    with _reported(problems, folder):
                        sources.append(_teacher(dataset, model, folder, record, live, teacher_pairs))
    return _published_over_live(sources)


def watched_files(layout: Layout) -> Iterator[Path]:
    """The files whose change may mean something new for MLflow."""
    for root, name in ((layout.results, "*.json"), (layout.runs, "run.json"), (layout.runs, "ledger.jsonl")):
        yield from root.rglob(name)


class _reported:
    """Turns what a malformed file raises into a problem, so that the others are still read."""

    def __init__(self, problems: list[str], path: Path) -> None:
        self.problems, self.path = problems, path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, ArtifactError):
            self.problems += error.problems
        elif isinstance(error, KeyError | TypeError | ValueError | AttributeError):
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            self.problems.append(f"{self.path}: not the run record it should be ({what}); left out")
        else:
            return False
        return True


def _cells_on_disk(layout: Layout) -> list[Cell]:
    root = Path("student")
    found = set()
    for base, name in ((layout.results / root, "record.json"), (layout.runs / root, "run.json")):
        for path in base.glob(f"*/*/*/*/*/{name}"):
            found.add(Cell.parse(path.parent.relative_to(base).as_posix()))
    return sorted(found)


def _pairs_with_profiles(layout: Layout) -> set[tuple[str, str]]:
    return {(path.parent.parent.name, path.parent.name) for path in (layout.results / "profile").glob("*/*/*.json")}


def _datasets_with_teachers(layout: Layout) -> set[str]:
    folders = {root.parent for root in _teacher_roots(layout, "x")}
    return {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}


def _teacher_roots(layout: Layout, dataset: str) -> tuple[Path, Path]:
    return layout.teacher(dataset, "x").parent, layout.teacher_run(dataset, "x").parent


def _read_record(folder: Path, problems: list[str]) -> Iterator[tuple[dict[str, Any], bool]]:
    """The record in a folder and whether it is that of a live run; nothing if there is none."""
    for name, live in (("record.json", False), ("run.json", True)):
        path = folder / name
        if path.is_file():
            with _reported(problems, path):
                record = read_json(path, "student")
                if not isinstance(record, dict) or not record.get("run_id"):
                    raise KeyError("run_id")
                yield record, live
            return


def _ledger(folder: Path) -> list[Event]:
    events = read_lines(folder / "ledger.jsonl", json.loads)
    return [event for event in events if "event" in event and "iteration" in event and "unix" in event]


def _student(layout: Layout, cell: Cell, folder: Path, record: dict[str, Any], live: bool) -> RunSource:
    source = _trained(cell.path, "student", cell.dataset, folder, record, live)
    source.name = f"{cell.method} {cell.budget} seed {cell.seed}"
    source.pair = f"{cell.dataset}/{cell.pair}"
    plan = record.get("plan") or {}
    profile_path = layout.profile(cell.dataset, cell.pair, cell.method)
    profile = read_json(profile_path, "profile") if profile_path.is_file() else {}
    if version_of(profile) != version_of(record):
        profile = {}  # of another unit
    source.tags |= texts(
        pair=cell.pair,
        method=cell.method,
        budget=cell.budget,
        seed=cell.seed,
        protocol=plan.get("protocol"),
        implementation=_implementation(record.get("params") or {}) or profile.get("implementation"),
    )
    source.tags.setdefault("device_kind", plan.get("device_kind", "unknown"))  # a live run does not say it yet
    marks = plan.get("marks") or []
    if plan and not live:
        audited = audit_record(record)
        marks = audited["marks"]
        add_numbers(source, **{name: audited[name] for name in ("spent_anchor_steps", "deviation", "contention")})
    source.tags |= texts(marks=",".join(marks))
    add_numbers(
        source,
        planned_s=plan.get("planned_s"),
        planned_anchor_steps=plan.get("anchor_steps"),
        cost_ratio=plan.get("cost", (profile.get("cost") or {}).get("ratio")),
        peak_mib=profile.get("peak_mib"),
    )
    if not live:
        _add_scores(source, layout.evaluation(cell), record)
    return sealed(source, live)


def _teacher(
    dataset: str, model: str, folder: Path, record: dict[str, Any], live: bool, pairs: dict[tuple[str, str], str]
) -> RunSource:
    source = _trained(f"{dataset}/teacher/{model}", "teacher", dataset, folder, record, live)
    source.name = f"teacher {model}"
    source.pair = pairs.get((dataset, (record.get("digests") or {}).get("weights") or ""))
    source.tags |= texts(model=model, seed=(record.get("cell") or {}).get("seed"))
    if not live:
        _add_scores(source, folder, record)
    return sealed(source, live)


def _profile(path: Path, dataset: str, pair: str) -> RunSource:
    content = read_json(path, "profile")
    method = path.stem
    written_ms = round((content.get("measured_unix") or path.stat().st_mtime) * 1000)
    source = RunSource(
        f"{dataset}/{pair}/{method}/profile", sha256_json(content)[:32], "profile", dataset, f"profile {method}",
        f"{dataset}/{pair}", "FINISHED", written_ms, written_ms,
    )  # fmt: skip
    source.tags = texts(
        dataset=dataset, pair=pair, method=method, status="finished", marks=",".join(content.get("marks") or []) or None
    )
    source.tags |= texts(**{name: content.get(name) for name in ("implementation", "device_kind")})
    source.tags |= texts(protocol_version=version_of(content))
    source.tags |= digest_tags(content)
    source.params = flattened({name: content.get(name) for name in ("threads", "precision", "batch", "crop")})
    cost = content["cost"]
    add_numbers(source, cost_ratio=cost["ratio"], cost_low=cost.get("low"), cost_high=cost.get("high"))
    add_numbers(
        source,
        **{
            name: content.get(name) for name in ("sustained_ratio", "peak_mib", "loader_core_s", "energy_j", "attempts")
        },
    )
    add_numbers(
        source,
        step_s=(content.get("step_s") or {}).get("median"),
        anchor_s=(content.get("anchor_s") or {}).get("median"),
    )
    for group in ("shares", "gflops"):
        add_numbers(source, **{f"{group}/{part}": value for part, value in (content.get(group) or {}).items()})
    source.files = [(path, "")]
    return sealed(source, live=False)


def _trained(key: str, kind: str, dataset: str, folder: Path, record: dict[str, Any], live: bool) -> RunSource:
    """What teachers and students have in common."""
    events = _ledger(folder)
    started: float = record.get("started_unix") or (events[0]["unix"] if events else time.time())
    last: Event = events[-1] if events else {"event": "start", "unix": started, "iteration": 0}
    ended = record.get("ended_unix") or last["unix"]
    status, said = _live_status(last) if live else _ended_status(record["status"])
    hardware, clock = record.get("hardware") or {}, record.get("clock") or {}
    settled = settled_events(events, final=not live)
    source = RunSource(
        key, record["run_id"], kind, dataset, key, None, status, round(started * 1000), round(ended * 1000),
        params=flattened(record.get("params") or {}),
        steps=step_metrics(settled),
    )  # fmt: skip
    source.tags = texts(
        dataset=dataset, status=said, device_kind=hardware.get("device_kind"), device=hardware.get("device")
    )
    source.tags |= digest_tags(record) | texts(protocol_version=version_of(record))
    if live:
        source.tags |= texts(message=last.get("message") if last["event"] == "failed" else None)
        return source
    source.tags |= texts(message=record.get("message") or None)
    iterations = record.get("iterations") or {}
    source.final_iteration = int(iterations.get("done") or 0)
    add_numbers(source, iterations=iterations.get("done"), planned_iterations=iterations.get("planned"))
    add_numbers(
        source,
        spent_s=clock.get("train_s"),
        **{name: clock.get(name) for name in ("evaluate_s", "io_s", "startup_s", "lost_s")},
    )
    best = record.get("best") or {}
    add_numbers(source, best_miou=best.get("miou"), best_iteration=best.get("iteration"))
    source.files = [(folder / name, "") for name in ("record.json", "ledger.jsonl") if (folder / name).is_file()]
    weights, digest = folder / "weights.safetensors", (record.get("digests") or {}).get("weights")
    if weights.is_file():
        source.weights = (weights, digest or sha256_file(weights))
    return source


def _add_scores(source: RunSource, folder: Path, record: dict[str, Any]) -> None:
    path = folder / "scores.json"
    if not path.is_file():
        return
    scores = read_json(path, "evaluate")
    if source.kind == "student" and version_of(scores) != version_of(record):
        return  # of another version of the protocol than the run
    of, ours = scores.get("weights"), (record.get("digests") or {}).get("weights")
    if of and ours and of != ours:
        return  # of an earlier training of this cell: `evaluate` has not come to the new one yet
    source.per_class_iou = scores.get("per_class_iou") or {}
    add_numbers(source, miou=scores.get("miou"), **scores.get("metrics") or {})
    add_numbers(source, **{f"val/iou/{name}": value for name, value in source.per_class_iou.items()})
    source.files.append((path, ""))
    source.files += [(overlay, "overlays") for overlay in sorted((folder / "overlays").glob("*.png"))]


def _published_over_live(sources: Iterable[RunSource]) -> list[RunSource]:
    """Each (key, run_id) once, published or else live; of one key the one started last comes last."""
    chosen: dict[tuple[str, str], RunSource] = {}
    for source in sources:
        chosen.setdefault((source.key, source.run_id), source)
    return sorted(chosen.values(), key=lambda source: (source.dataset, source.key, source.started_ms))


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


def _implementation(params: dict[str, Any]) -> str | None:
    method = params.get("method")
    found = method.get("implementation") if isinstance(method, dict) else params.get("implementation")
    return found if isinstance(found, str) else None
