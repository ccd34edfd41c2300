"""A small study on disk, with run records of teachers, students, profiles and evaluations."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

import documents
from documents import changed
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.records.document import write
from isoclock.tracking import SyncSummary, sync

BEGAN = 1_700_000_000.0
CLASSES = {"road": 0.9, "traffic light": 0.4, "sky": None}
TEACHER = hashlib.sha256(b"teacher").hexdigest()
"""Digest of the teacher's weights."""


@dataclass
class Study:
    """A study folder, with a builder for the files of each verb."""

    root: Path
    uri: str

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @staticmethod
    def weights_of(run_id: str) -> str:
        """Digest of the weights of a student's run."""
        return hashlib.sha256(run_id.encode()).hexdigest()

    @staticmethod
    def event(kind: str, iteration: int, *, unix: float | None = None, **more: Any) -> dict[str, Any]:
        return {"event": kind, "iteration": iteration, "unix": BEGAN + iteration if unix is None else unix, **more}

    def train(self, iteration: int, loss: float, *, unix: float | None = None) -> dict[str, Any]:
        terms = {"ce": loss / 2, "kd": loss / 4}
        values = {"loss": loss, "terms": terms, "lr": 0.01, "train_s": iteration / 10, "iterations_per_s": 10.0}
        return self.event("train", iteration, unix=unix, **values)

    def ledger(self, iterations: int = 40) -> list[dict[str, Any]]:
        lines = [self.event("start", 0, run_id="r", segment=0)]
        for iteration in range(10, iterations + 1, 10):
            lines.append(self.train(iteration, 4.0 / iteration))
            if iteration % 20 == 0:
                lines.append(self.event("evaluate", iteration, miou=iteration / 100, per_class={}, evaluate_s=1.0))
                lines.append(self.event("checkpoint", iteration, io_s=0.1, bytes=10))
        return [*lines, self.event("finish", iterations)]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.uri)

    def sync(self, **options: Any) -> SyncSummary:
        return sync(self.results, self.runs, self.uri, **options)

    def student(
        self,
        cell: str,
        *,
        run_id: str,
        status: str = "finished",
        miou: float | None = 0.5,
        started: float = BEGAN,
        events: list[dict[str, Any]] | None = None,
        live: bool = False,
        teacher: str = TEACHER,
    ) -> Path:
        of, layout = Cell.parse(cell), Layout(self.results, self.runs)
        folder = layout.student_run(of) if live else layout.student(of)
        plan = documents.plan(of, 40, 1.5, 0.068, planned_s=4.1)
        common = {
            "run_id": run_id,
            "params": {"method": {"implementation": "tuned"}},
            "digests": {"teacher": teacher, "code": "c"},
            "started_unix": started,
        }
        self.write_ledger(folder, self.ledger() if events is None else events)
        if live:
            write(folder / "run.json", documents.student_run(of, plan, **common))
            return folder
        record = documents.student_record(
            of,
            plan,
            [documents.segment(4.0, 0.07, iterations=40, ended=status)],
            **common,
            status=status,
            message="" if status == "finished" else "loss is NaN at iteration 40",
            clock={"lost_s": 0.5},
            ended_unix=started + 100,
        )
        write(folder / "record.json", changed(record, digests={"weights": self.weights_of(run_id)}))
        (folder / "weights.safetensors").write_bytes(run_id.encode())
        if miou is not None:
            self.scores(layout.evaluation(of), miou, self.weights_of(run_id), of)
        return folder

    def teacher(self, dataset: str, model: str, *, run_id: str = "teacher-run", miou: float = 0.7) -> Path:
        folder = Layout(self.results, self.runs).teacher(dataset, model)
        self.write_ledger(folder, self.ledger())
        record = documents.teacher_record(
            dataset,
            model,
            run_id=run_id,
            digests={"weights": TEACHER},
            started_unix=BEGAN - 500,
            ended_unix=BEGAN - 400,
        )
        write(folder / "record.json", record)
        (folder / "weights.safetensors").write_bytes(b"teacher")
        self.scores(folder, miou, TEACHER)
        return folder

    def profile(self, dataset: str, pair: str, method: str, *, ratio: float = 1.5, **changes: Any) -> Path:
        path = Layout(self.results, self.runs).profile(dataset, pair, method)
        content = documents.profile(method, ratio, dataset=dataset, pair=pair, marks=["noisy"], **changes)
        write(path, content)
        return path

    def scores(self, folder: Path, miou: float, weights: str, cell: Cell | None = None) -> None:
        write(folder / "scores.json", documents.scores(cell, miou, weights, CLASSES))
        (folder / "overlays").mkdir(exist_ok=True)
        (folder / "overlays" / "street_0.png").write_bytes(b"\x89PNG")

    def write_ledger(self, folder: Path, events: list[dict[str, Any]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in events))

    def small_grid(self) -> None:
        """Two methods, two budgets and one seed, with teacher and profiles."""
        self.teacher("streets", "r101")
        for method, gain in (("none", 0.0), ("kd", 0.1)):
            self.profile("streets", "demo", method)
            for budget, base in (("compute-400", 0.5), ("iteration-400", 0.4)):
                self.student(f"streets/demo/{method}/{budget}/0", run_id=f"{method}-{budget}", miou=base + gain)

    def found(self, query: str = "") -> list[Any]:
        """Active runs of all experiments that match `query`."""
        experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
        return list(self.client.search_runs(experiments, query, max_results=1000))

    def census(self) -> dict[str, tuple[str, int, int, int]]:
        """Status and numbers of metric points, params and artifacts, by key and run id."""
        client = self.client
        return {
            f"{run.data.tags['isoclock.key']} {run.data.tags.get('isoclock.run_id')}": (
                run.info.status,
                sum(len(client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics),
                len(run.data.params),
                len(client.list_artifacts(run.info.run_id)),
            )
            for run in self.found()
        }
