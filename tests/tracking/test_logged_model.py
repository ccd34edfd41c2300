"""Data sets, models, the registry, descriptions and the view of an experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from mlflow.entities import LoggedModelStatus
from tracked_study import TEACHER

from isoclock.grid.cells import Cell

CELL = "streets/demo/kd/compute-400/0"


def alias(study: Any, name: str) -> str:
    """The key of the run that an alias of the pair leads to."""
    version = study.client.get_model_version_by_alias("streets.demo", name)
    return str(study.client.get_run(version.run_id).data.tags["isoclock.key"])


def models(study: Any) -> dict[str, Any]:
    """The logged models by the key of their run."""
    experiments = [one.experiment_id for one in study.client.search_experiments()]
    return {model.tags["isoclock.key"]: model for model in study.client.search_logged_models(experiments)}


def test_a_run_has_its_data_set_and_its_model(study: Any) -> None:
    study.student(CELL, run_id="one")
    study.sync()
    (run,) = study.found("tags.`isoclock.kind` = 'student'")
    (data,) = run.inputs.dataset_inputs
    record = json.loads((study.results / "student" / CELL / "record.json").read_text())
    assert (data.dataset.name, data.dataset.digest) == ("streets", record["digests"]["data"][:36])
    (output,) = run.outputs.model_outputs
    model = study.client.get_logged_model(output.model_id)
    assert (model.status, model.source_run_id) == (LoggedModelStatus.READY, run.info.run_id)
    assert [(metric.key, metric.value) for metric in model.metrics] == [("miou", 0.5)]
    folder = Path(unquote(model.artifact_location.removeprefix("file://")))
    assert (folder / "weights.safetensors").read_bytes() == b"one"
    flavour = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]["isoclock"]
    assert (flavour["key"], flavour["classes"]) == (CELL, ["road", "car", "sky"])


def test_aliases_name_the_teacher_and_the_best_method_of_each_budget(study: Any) -> None:
    study.small_grid()
    study.sync()
    assert alias(study, "teacher") == "streets/teacher/r101"
    assert alias(study, "best-at-compute-400") == CELL
    assert alias(study, "best-at-iteration-400") == "streets/demo/kd/iteration-400/0"
    assert not study.sync().changed
    # `none` has two seeds, and `kd` one: its mean does not count.
    study.student("streets/demo/none/compute-400/1", run_id="none-1", miou=0.1)
    assert study.sync().aliases == 1
    assert alias(study, "best-at-compute-400") == "streets/demo/none/compute-400/0"
    study.student("streets/demo/kd/compute-400/1", run_id="kd-1", miou=0.3)
    study.sync()
    assert alias(study, "best-at-compute-400") == CELL, "mean 0.45 against 0.3"
    assert len(study.client.search_model_versions("name = 'streets.demo'")) == 4, "each model once"


def test_a_diverged_seed_does_not_win(study: Any) -> None:
    for seed in (0, 1):
        study.student(f"streets/demo/none/compute-400/{seed}", run_id=f"none-{seed}", miou=0.4)
    study.student("streets/demo/kd/compute-400/0", run_id="kd-0", miou=0.9)
    study.student("streets/demo/kd/compute-400/1", run_id="kd-1", miou=None, status="diverged")
    study.sync()
    assert alias(study, "best-at-compute-400") == "streets/demo/none/compute-400/0"


def test_an_interrupted_model_is_logged_once(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study.teacher("streets", "r101")
    study.student(CELL, run_id="one", teacher=TEACHER)
    for name in ("log_model_artifact", "log_outputs", "log_batch", "set_registered_model_alias"):
        with monkeypatch.context() as patch:

            def fail(*_: Any, **__: Any) -> None:
                raise ConnectionError("gone in the middle")

            patch.setattr(f"mlflow.MlflowClient.{name}", fail)
            with pytest.raises(Exception, match="gone in the middle"):
                study.sync()
    study.sync()
    assert sorted(models(study)) == [CELL, "streets/teacher/r101"]
    assert all(model.status == LoggedModelStatus.READY for model in models(study).values())
    assert [len(run.outputs.model_outputs) for run in study.found()] == [1, 1]
    assert (alias(study, "teacher"), alias(study, "best-at-compute-400")) == ("streets/teacher/r101", CELL)
    assert not study.sync().changed


def test_descriptions_lead_to_the_report(study: Any) -> None:
    study.student(CELL, run_id="one")
    study.sync(grid_name="demo")
    (run,) = study.found()
    assert run.data.tags["mlflow.note.content"] == f"`{CELL}`, folder `results/student/{CELL}`"
    page = study.results / "report" / "demo" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<html>first</html>")
    cell = [Cell.parse(CELL)]
    study.sync(grid_name="demo", cells=cell)
    (report,) = study.found("tags.`isoclock.kind` = 'report'")
    (run,) = study.found("tags.`isoclock.kind` = 'student'")
    at = f"#/experiments/{report.info.experiment_id}/runs/{report.info.run_id}/artifacts/report.html"
    link = f"[report of grid demo]({at}?workflowType=machine_learning)"
    assert run.data.tags["mlflow.note.content"].endswith(link)
    assert not study.sync(grid_name="demo", cells=cell).changed
    page.write_text("<html>second</html>")
    assert study.sync(grid_name="demo", cells=cell).updated == 1
    text = study.client.download_artifacts(report.info.run_id, "report.html")
    assert Path(text).read_text() == "<html>second</html>"


def test_runs_of_an_earlier_version_are_written_again(study: Any) -> None:
    study.student(CELL, run_id="one")
    study.sync()
    (run,) = study.found()
    parent = study.client.create_run(
        run.info.experiment_id, tags={"isoclock.key": "streets/demo", "isoclock.kind": "pair"}
    )
    study.client.set_tag(run.info.run_id, "mlflow.parentRunId", parent.info.run_id)
    assert study.sync().created == 1
    (again,) = study.found()
    assert again.info.run_id != run.info.run_id
    assert "mlflow.parentRunId" not in again.data.tags
    assert not study.sync().changed


def test_the_view_of_an_experiment_is_sorted_by_miou(study: Any) -> None:
    study.student(CELL, run_id="one")
    study.sync()
    experiment = study.client.get_experiment_by_name("streets")
    view = json.loads(experiment.tags["mlflow.sharedViewState.isoclock"])
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`miou`", False)
    (run,) = study.client.search_runs(
        [experiment.experiment_id], view["searchFilter"], order_by=[f"{view['orderByKey']} DESC"]
    )
    known = {"metrics": run.data.metrics, "params": run.data.params, "tags": run.data.tags}
    shown = [column.split(".", 1) for column in view["selectedColumns"]]
    assert [name for kind, name in shown if name.strip("`") not in known[kind]] == ["`precision`"], (
        "the test's recipe has none"
    )
