"""`isoclock sync`: bring MLflow up to date from the run records, once or every few seconds."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from isoclock.errors import UserError
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.tracking.database import correct_locations
from isoclock.tracking.logged_model import MODEL, WEIGHTS, set_aliases, wanted_aliases
from isoclock.tracking.mirror import UNCHANGED, Mirror
from isoclock.tracking.records import read_sources, watched_files
from isoclock.tracking.source import RunSource
from isoclock.tracking.store import artifact_root, catch_store_errors, open_store, resolve_uri, upgrade_locked, writing

Progress = Callable[[str], None]

_REST = 20.0  # pause after a round, in lengths of the round: bounds the load of `watch`
_MAX_ROUND_INTERVAL_S = 60.0  # even if no file changed: a dead run is recognised by its missing updates


@dataclass
class SyncSummary:
    """Numbers of runs by what a sync did, and the records that it could not read (one line each)."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    superseded: int = 0
    closed: int = 0
    running: int = 0
    aliases: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """The summary as one line."""
        parts = [f"{self.created} created", f"{self.updated} updated", f"{self.unchanged} unchanged"]
        optional = ("running", "superseded", "closed")
        parts += [f"{getattr(self, name)} {name}" for name in optional if getattr(self, name)]
        parts += [f"{len(self.problems)} unreadable"] if self.problems else []
        return "runs: " + ", ".join(parts)

    @property
    def changed(self) -> bool:
        """True if anything was written."""
        return bool(self.created or self.updated or self.superseded or self.closed or self.aliases)


def sync(
    results: Path,
    runs: Path,
    tracking_uri: str | None = None,
    *,
    grid_name: str | None = None,
    cells: Sequence[Cell] = (),
    teachers_of: Sequence[str] = (),
    progress: Progress | None = None,
) -> SyncSummary:
    """Update MLflow from `results` and `runs`. Idempotent; a deleted store is rebuilt completely.

    `cells` selects what is synced; empty means everything on disk. `teachers_of` names other data sets whose teachers are
    synced too, because the cells use them. There is an experiment per data set with its teachers, profiles and cells, and
    the report of `grid_name`; a teacher of another data set is in the experiment of that data set. The registry has a model
    `<data set>.<pair>` per pair, with aliases. If a cell was trained several times, all runs but the one on disk are tagged
    `isoclock.superseded`. A run that is RUNNING in the store but missing on disk is ended as KILLED. Use one store per
    study: two studies would supersede each other.

    Raises UserError for a store that cannot be used or does not answer; records that cannot be read are listed in
    `problems` of the summary.
    """
    uri = resolve_uri(tracking_uri)
    summary, report = SyncSummary(), progress or _silent
    with writing(uri) as lock, catch_store_errors(uri):
        upgrade_locked(uri, lock)
        client, root = open_store(uri), artifact_root(uri)
        if root is not None:
            for line in correct_locations(uri, root):
                report(line)
        # Read under the lock, so that records read earlier cannot overwrite what another sync has just written.
        sources = read_sources(Layout(results, runs), cells, summary.problems, teachers_of, grid_name)
        datasets = sorted({cell.dataset for cell in cells} | {source.dataset for source in sources})
        mirrors = [Mirror(client, dataset, root, grid_name) for dataset in datasets]
        for mirror in mirrors:
            mine = [source for source in sources if source.dataset == mirror.dataset]
            _sync_experiment(mirror, mine, cells, summary, report)
        teachers = {run.data.tags[WEIGHTS]: run for mirror in mirrors for run in mirror.current("teacher", WEIGHTS)}
        for mirror in mirrors:
            used = {
                source.params["pair"]: source.digests["teacher"]
                for source in sources
                if source.dataset == mirror.dataset and source.kind == "student" and "teacher" in source.digests
            }
            for pair, wanted in wanted_aliases(mirror.current("student", MODEL), teachers, used).items():
                summary.aliases += set_aliases(client, f"{mirror.dataset}.{pair}", wanted)
    return summary


def open_experiments(uri: str, datasets: Iterable[str]) -> None:
    """Make the experiments of data sets that have none yet, so that their pages can be opened before the first sync."""
    with writing(uri) as lock, catch_store_errors(uri):
        upgrade_locked(uri, lock)
        client = open_store(uri)
        for dataset in datasets:
            Mirror(client, dataset, artifact_root(uri), None)


def watch(
    results: Path,
    runs: Path,
    tracking_uri: str | None = None,
    *,
    grid_name: str | None = None,
    cells: Sequence[Cell] = (),
    teachers_of: Sequence[str] = (),
    progress: Progress | None = None,
    interval_s: float = 5.0,
    stop: threading.Event | None = None,
) -> SyncSummary:
    """Call `sync` whenever a file changed, checking every `interval_s` seconds, until `stop` is set or the parent dies.

    The first round raises like `sync`; later rounds report a store that does not answer through `progress` and try again.
    The machine may be training a run whose time is measured, so this only reads file times while nothing changes, and
    pauses after each round for twenty times its length. Returns the summary of the last round.
    """
    layout, parent = Layout(results, runs), os.getppid()
    stop, report = stop or threading.Event(), progress or _silent
    seen, summary = _fingerprint(layout), None
    while True:
        started = time.monotonic()
        try:
            summary = sync(
                results,
                runs,
                tracking_uri,
                grid_name=grid_name,
                cells=cells,
                teachers_of=teachers_of,
                progress=progress,
            )
        except UserError as error:
            if summary is None:
                raise
            report(f"{error}")
        ended = time.monotonic()
        rest_s = max(interval_s, _REST * (ended - started))
        while True:
            if stop.wait(rest_s) or os.getppid() != parent:
                return summary
            now = _fingerprint(layout)
            if now != seen or time.monotonic() - ended > _MAX_ROUND_INTERVAL_S:
                seen = now
                break


def _sync_experiment(
    mirror: Mirror, sources: list[RunSource], wanted: Sequence[Cell], summary: SyncSummary, report: Progress
) -> None:
    current = {source.key: source.run_id for source in sources}  # the newest run of a key is last
    for source in sorted(sources, key=lambda source: source.kind != "report"):  # the others have links to reports
        outcome = mirror.put(source, current=current[source.key] == source.run_id)
        setattr(summary, outcome, getattr(summary, outcome) + 1)
        summary.running += source.status == "RUNNING"
        if outcome != UNCHANGED:
            report(f"{outcome} {source.key}")
    for key, run_id in current.items():
        summary.superseded += mirror.supersede(key, run_id)

    scope = {cell.path for cell in wanted}
    teachers = f"{mirror.dataset}/teacher/"
    alive = {(source.key, source.run_id) for source in sources}
    summary.closed += mirror.close_orphans(alive, lambda key: not wanted or key in scope or key.startswith(teachers))


def _fingerprint(layout: Layout) -> dict[Path, tuple[int, int]]:
    found = {}
    for path in watched_files(layout):
        try:
            status = path.stat()
        except FileNotFoundError:  # renamed or removed since the listing
            continue
        found[path] = (status.st_mtime_ns, status.st_size)
    return found


def _silent(_: str) -> None:
    pass
