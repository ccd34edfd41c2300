"""One MLflow experiment, updated to match the runs read from disk. Writes only what is missing."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag, ViewType

from isoclock.tracking.source import RunSource

KEY = "isoclock.key"
RUN_ID = "isoclock.run_id"
KIND = "isoclock.kind"
SUPERSEDED = "isoclock.superseded"
SYNCED = "isoclock.synced"  # digest of what was written last; if equal, there is nothing to do
STEPS = "isoclock.steps"  # last iteration written, by kind of ledger event
WEIGHTS = "isoclock.weights"  # digest of the weights among the artifacts
PARENT = "mlflow.parentRunId"

CREATED, UPDATED, UNCHANGED = "created", "updated", "unchanged"

# Limits of MLflow's REST API: items per request, characters per value.
_METRICS_A_BATCH, _PARAMS_A_BATCH, _LONGEST_PARAM, _LONGEST_TAG = 1000, 100, 6000, 5000

# Without it, MLflow 3 opens an experiment among its pages for language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}

T = TypeVar("T")


class Mirror:
    """The experiment of one data set. All runs created by `sync` are read once, at the start."""

    def __init__(self, client: MlflowClient, dataset: str, artifacts: Path | None, grid_name: str | None) -> None:
        self.client, self.dataset, self.grid_name = client, dataset, grid_name
        self.experiment_id = self._experiment(artifacts)
        self.runs: dict[str, list[Run]] = defaultdict(list)
        for run in self._all_runs():
            self.runs[run.data.tags[KEY]].append(run)
        self._parents: dict[str, str] = {}

    def put_pair(self, key: str, started_ms: int) -> None:
        """Create the parent run of a pair (`dataset/pair`), if there is none."""
        runs = self.runs[key]
        if not runs:
            name = key.partition("/")[2]
            tags = {KEY: key, KIND: "pair", SUPERSEDED: "false", "dataset": self.dataset, "pair": name}
            tags["mlflow.note.content"] = (
                "Child runs: the teacher, one profile per method, one run per cell of the grid."
            )
            runs.append(self.client.create_run(self.experiment_id, started_ms, tags, f"pair {name}"))
        run = runs[0]
        self._parents[key] = run.info.run_id
        self._tag(run, self._grid_tag(run))

    def settle_pair(self, key: str, running: bool, ended_ms: int) -> None:
        """Set the parent RUNNING while a child runs, else FINISHED at the end of the last child."""
        self._set_status(self.runs[key][0], "RUNNING" if running else "FINISHED", ended_ms)

    def put(self, source: RunSource, *, current: bool, only_pair: str | None) -> str:
        """Update one run; returns CREATED, UPDATED or UNCHANGED.

        `current` is False for a run that a newer one replaces; `only_pair` is the parent of a teacher whose pair is
        unknown.
        """
        run = next((run for run in self.runs[source.key] if run.data.tags.get(RUN_ID) == source.run_id), None)
        identity = {KEY: source.key, RUN_ID: source.run_id, KIND: source.kind, SUPERSEDED: str(not current).lower()}
        known = run.data.tags.get(PARENT) if run else None
        parent = self._parents.get(source.pair or "") or known or self._parents.get(only_pair or "")
        tags = identity | source.tags | self._grid_tag(run) | ({PARENT: parent} if parent else {})
        tags = {name: value[:_LONGEST_TAG] for name, value in tags.items()} | {SYNCED: source.digest}
        if run and all(run.data.tags.get(name) == value for name, value in tags.items()):
            return UNCHANGED
        outcome = UPDATED if run else CREATED
        if run is None:
            run = self.client.create_run(self.experiment_id, source.started_ms, identity, source.name)
            self.runs[source.key].append(run)
        if run.data.tags.get(SYNCED) != source.digest:
            self._log_params(run, source)
            tags |= self._log_metrics(run, source)
            tags |= self._log_artifacts(run, source)
            self._set_status(run, source.status, source.ended_ms)
        self._tag(run, tags)  # last, so that an interrupted sync is repeated
        return outcome

    def supersede(self, key: str, run_id: str) -> int:
        """Mark every other run of `key` as superseded by `run_id`; returns how many were newly marked."""
        marked = 0
        for run in self.runs[key]:
            if run.data.tags.get(RUN_ID) != run_id and run.data.tags.get(SUPERSEDED) != "true":
                self.client.set_tag(run.info.run_id, SUPERSEDED, "true")
                marked += 1
        return marked

    def close_orphans(self, alive: set[tuple[str, str]], in_scope: Callable[[str], bool]) -> int:
        """End runs as KILLED that are RUNNING here but missing on disk; returns how many."""
        closed = 0
        for key, runs in self.runs.items():
            for run in runs:
                tags = run.data.tags
                orphan = tags.get(KIND) in ("student", "teacher") and (key, tags.get(RUN_ID)) not in alive
                if orphan and run.info.status == "RUNNING" and in_scope(key):
                    self._set_status(run, "KILLED", round(time.time() * 1000))
                    self._tag(run, {"status": "gone", SYNCED: ""})
                    closed += 1
        return closed

    def _experiment(self, artifacts: Path | None) -> str:
        found = self.client.get_experiment_by_name(self.dataset)
        if found is None:
            location = (artifacts / self.dataset).as_uri() if artifacts else None
            return str(self.client.create_experiment(self.dataset, artifact_location=location, tags=_EXPERIMENT_TAGS))
        if found.lifecycle_stage == "deleted":  # its name is reserved until `mlflow gc`, so it must be restored
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _all_runs(self) -> Iterator[Run]:
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id],
                f"tags.`{KEY}` LIKE '%'",
                ViewType.ACTIVE_ONLY,
                1000,
                ["attributes.start_time"],
                token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def _grid_tag(self, run: Run | None) -> dict[str, str]:
        """Names of the grids that a run belongs to, sorted, separated by commas."""
        names = set(filter(None, (run.data.tags.get("grid", "") if run else "").split(",")))
        names |= {self.grid_name} if self.grid_name else set()
        return {"grid": ",".join(sorted(names))} if names else {}

    def _tag(self, run: Run, tags: dict[str, str]) -> None:
        new = [RunTag(name, value) for name, value in tags.items() if run.data.tags.get(name) != value]
        for chunk in _chunks(new, _PARAMS_A_BATCH):
            self.client.log_batch(run.info.run_id, tags=chunk)

    def _set_status(self, run: Run, status: str, ended_ms: int) -> None:
        if status == "RUNNING":
            if run.info.status != status:
                self.client.update_run(run.info.run_id, status=status)
        elif run.info.status != status or run.info.end_time != ended_ms:
            self.client.set_terminated(run.info.run_id, status, ended_ms)

    def _log_params(self, run: Run, source: RunSource) -> None:
        # Params are immutable; those of a live run exist already when its record is published.
        named = {_allowed(name): value[:_LONGEST_PARAM] for name, value in source.params.items()}
        new = [Param(name, value) for name, value in named.items() if name not in run.data.params]
        for chunk in _chunks(new, _PARAMS_A_BATCH):
            self.client.log_batch(run.info.run_id, params=chunk)

    def _log_metrics(self, run: Run, source: RunSource) -> dict[str, str]:
        done = json.loads(run.data.tags.get(STEPS) or "{}")
        new = [
            Metric(_allowed(step.name), step.value, step.unix_ms, step.iteration)
            for step in source.steps
            if step.iteration > done.get(step.kind, -1)
        ]
        for step in source.steps:
            done[step.kind] = max(step.iteration, done.get(step.kind, -1))
        for name, value in source.finals.items():
            before = run.data.metrics.get(_allowed(name))
            if before != value:
                # With the original time a repeated value is stored once; a changed value needs a later time than the old
                # one, or MLflow keeps showing the old one.
                unix_ms = source.ended_ms if before is None else round(time.time() * 1000)
                new.append(Metric(_allowed(name), value, unix_ms, source.final_iteration))
        for chunk in _chunks(new, _METRICS_A_BATCH):
            self.client.log_batch(run.info.run_id, metrics=chunk)
        return {STEPS: json.dumps(done, sort_keys=True)}

    def _log_artifacts(self, run: Run, source: RunSource) -> dict[str, str]:
        tags = {}
        run_id = run.info.run_id
        for path, folder in source.files:
            self.client.log_artifact(run_id, str(path), folder or None)
        if source.per_class_iou:
            rows = sorted(source.per_class_iou.items())
            table = {"columns": ["class", "iou"], "data": [list(row) for row in rows]}
            self.client.log_dict(run_id, table, "per_class.json")
            self.client.log_text(run_id, _markdown(rows), "per_class.md")
            # Makes the MLflow UI show the file as a table, and compare it between runs.
            tags["mlflow.loggedArtifacts"] = json.dumps([{"path": "per_class.json", "type": "table"}])
        if source.weights and run.data.tags.get(WEIGHTS) != source.weights[1]:
            self.client.log_artifact(run_id, str(source.weights[0]), "weights")
            tags[WEIGHTS] = source.weights[1]
        return tags


def _markdown(rows: Sequence[tuple[str, float | None]]) -> str:
    lines = [f"| {name} | {'absent' if iou is None else f'{100 * iou:.2f}'} |" for name, iou in rows]
    return "\n".join(["| class | IoU, % |", "|---|---:|", *lines]) + "\n"


def _allowed(name: str) -> str:
    """`name` with characters replaced that MLflow does not allow in names of params and metrics."""
    return re.sub(r"[^\w\-./ :]", "_", name)[:250]


def _chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
