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
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType

from isoclock.grid.layout import Layout
from isoclock.tracking.logged_model import MODEL, put_model
from isoclock.tracking.pages import experiment_tags, run_note
from isoclock.tracking.source import RunSource

KEY = "isoclock.key"
RUN_ID = "isoclock.run_id"
KIND = "isoclock.kind"
SUPERSEDED = "isoclock.superseded"
SYNCED = "isoclock.synced"  # digest of what was written last; if equal, there is nothing to do
STEPS = "isoclock.steps"  # last iteration written, by kind of ledger event
_PARENT = "mlflow.parentRunId"  # runs of earlier versions have it, and are written again

CREATED, UPDATED, UNCHANGED = "created", "updated", "unchanged"

# Limits of MLflow's REST API: items per request, characters per value.
_METRICS_A_BATCH, _PARAMS_A_BATCH, _LONGEST_PARAM, _LONGEST_TAG, _LONGEST_DIGEST = 1000, 100, 6000, 5000, 36

T = TypeVar("T")


class Mirror:
    """The experiment of one data set. All runs created by `sync` are read once, at the start."""

    def __init__(self, client: MlflowClient, dataset: str, artifacts: Path | None, grid_name: str | None) -> None:
        self.client, self.dataset, self.grid_name = client, dataset, grid_name
        self.experiment_id = self._experiment(artifacts)
        self.runs: dict[str, list[Run]] = defaultdict(list)
        for run in self._all_runs():
            if run.data.tags.get(KIND) == "pair":  # an earlier version made a parent for each pair
                client.delete_run(run.info.run_id)
            else:
                self.runs[run.data.tags[KEY]].append(run)

    def put(self, source: RunSource, *, current: bool) -> str:
        """Update one run; returns CREATED, UPDATED or UNCHANGED. `current` is False for a run that a newer one replaces."""
        runs = self.runs[source.key]
        run = next((run for run in runs if run.data.tags.get(RUN_ID) == source.run_id), None)
        if run is not None and _PARENT in run.data.tags:
            self.client.delete_run(run.info.run_id)
            runs.remove(run)
            run = None
        identity = {KEY: source.key, RUN_ID: source.run_id, KIND: source.kind, SUPERSEDED: str(not current).lower()}
        note = {"mlflow.note.content": run_note(source, self.experiment_id, self._reports())}
        tags = identity | source.tags | note | self._grid_tag(run)
        tags = {name: value[:_LONGEST_TAG] for name, value in tags.items()} | {SYNCED: source.digest}
        if run and all(run.data.tags.get(name) == value for name, value in tags.items()):
            return UNCHANGED
        outcome = UPDATED if run else CREATED
        if run is None:
            run = self.client.create_run(self.experiment_id, source.started_ms, identity, source.name)
            runs.append(run)
        if run.data.tags.get(SYNCED) != source.digest:
            self._log_params(run, source)
            self._log_data(run, source)
            model = put_model(self.client, run, source)
            tags |= model
            tags |= self._log_metrics(run, source, model.get(MODEL))
            tags |= self._log_artifacts(run, source)
            self._set_status(run, source.status, source.ended_ms)
        self._tag(run, tags)  # last, so that an interrupted sync is repeated
        runs[runs.index(run)] = self.client.get_run(run.info.run_id)
        return outcome

    def current(self, kind: str, tag: str) -> list[Run]:
        """The runs of a kind that no newer one replaces, and that have a tag."""
        return [
            run
            for runs in self.runs.values()
            for run in runs
            if run.data.tags[KIND] == kind and run.data.tags.get(SUPERSEDED) == "false" and tag in run.data.tags
        ]

    def supersede(self, key: str, run_id: str) -> int:
        """Mark every other run of `key` as superseded by `run_id`; returns how many were newly marked."""
        marked = 0
        for run in self.runs[key]:
            if run.data.tags.get(RUN_ID) != run_id and run.data.tags.get(SUPERSEDED) != "true":
                self.client.set_tag(run.info.run_id, SUPERSEDED, "true")
                run.data.tags[SUPERSEDED] = "true"
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
        tags = experiment_tags(self.dataset)
        if found is None:
            location = (artifacts / self.dataset).as_uri() if artifacts else None
            return str(self.client.create_experiment(self.dataset, artifact_location=location, tags=tags))
        if found.lifecycle_stage == "deleted":  # its name is reserved until `mlflow gc`, so it must be restored
            self.client.restore_experiment(found.experiment_id)
        for name, value in tags.items():
            if found.tags.get(name) != value:
                self.client.set_experiment_tag(found.experiment_id, name, value)
        return str(found.experiment_id)

    def _reports(self) -> dict[str, str]:
        """The runs of reports, by the name of the grid."""
        found = [run for runs in self.runs.values() for run in runs if run.data.tags.get(KIND) == "report"]
        return {run.data.tags[KEY].rpartition("/")[2]: run.info.run_id for run in found}

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

    def _log_data(self, run: Run, source: RunSource) -> None:
        digest = source.digests.get("data")
        if digest is None or (run.inputs and run.inputs.dataset_inputs):
            return
        where = json.dumps({"uri": str(Layout().prepared(source.dataset))})
        data = Dataset(source.dataset, digest[:_LONGEST_DIGEST], "local", where)
        self.client.log_inputs(
            run.info.run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "train and val")])]
        )

    def _log_metrics(self, run: Run, source: RunSource, model: str | None) -> dict[str, str]:
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
                of_model = {"model_id": model, "run_id": run.info.run_id} if name == "miou" and model else {}
                new.append(Metric(_allowed(name), value, unix_ms, source.final_iteration, **of_model))
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
        if source.digests:
            self.client.log_dict(run_id, source.digests, "digests.json")
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
