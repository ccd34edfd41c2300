from __future__ import annotations

import functools
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest

import documents
from isoclock.errors import UserError
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.protocol import VERSION
from isoclock.records.document import write
from isoclock.records.results import Results
from isoclock.tracking import run_sources, sync, watch
from isoclock.tracking.run_sources import student_source

CELL = "streets/demo/kd/compute-400/0"


def test_runs_have_tags_params_and_metrics(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study.small_grid()
    summary = study.sync(grid_name="demo")
    assert (summary.created, summary.updated, summary.problems) == (7, 0, [])
    assert summary.line == "runs: 7 created, 0 updated, 0 unchanged"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", study.uri)

    def search(query: str) -> Any:
        return mlflow.search_runs(experiment_names=["streets"], filter_string=query, order_by=["metrics.miou DESC"])

    matched = search("params.protocol = 'compute' AND params.budget = 'compute-400' AND tags.grid = 'demo'")
    assert list(matched["params.method"]) == ["kd", "none"]
    assert list(matched["metrics.miou"]) == pytest.approx([0.6, 0.5])
    assert list(search("metrics.miou > 0.55 AND tags.`isoclock.kind` = 'student'")["tags.isoclock.key"]) == [CELL]

    everything = search("")
    assert sorted(everything["tags.isoclock.kind"]) == ["profile"] * 2 + ["student"] * 4 + ["teacher"]
    assert "tags.mlflow.parentRunId" not in everything.columns, "or they would be folded under a parent"
    assert set(everything["status"]) == {"FINISHED"}

    best = matched.iloc[0]
    assert best["params.method.implementation"] == "tuned"
    assert best["params.recipe.crop"] == "[64, 128]"
    assert [best[f"params.{name}"] for name in ("pair", "seed", "implementation")] == ["demo", "0", "tuned"]
    assert (best["metrics.val/iou/traffic light"], best["metrics.work/spent_s"], best["metrics.work/planned_s"]) == (
        0.4,
        4.0,
        4.1,
    )
    assert (best["metrics.cost_ratio"], best["metrics.work/peak_mib"], best["metrics.work/lost_s"]) == (1.5, 321.0, 0.5)
    assert best["tags.device_kind"] == "cpu:test"
    assert best["metrics.work/spent_anchor_steps"] == pytest.approx(4.0 / 0.07)
    assert best["metrics.work/deviation"] == pytest.approx(4.0 / 0.07 / 60 - 1)
    assert best["tags.marks"] == "off-budget,lost-time"
    assert best["tags.mlflow.source.name"] == "isoclock student"
    assert set(everything["tags.protocol_version"]) == {str(VERSION)}
    assert "metrics.val/iou/sky" not in matched.columns
    assert set(search("params.method = 'kd' AND tags.`isoclock.kind` = 'profile'")["tags.marks"]) == {"noisy"}
    names = [name.removeprefix("metrics.") for name in matched.columns if name.startswith("metrics.")]
    assert sorted(name for name in names if "/" not in name) == sorted(names)[:2] == ["cost_ratio", "miou"]


def test_versions_of_the_protocol_are_tagged(study: Any) -> None:
    study.student(CELL, run_id="one")
    study.profile("streets", "demo", "kd", protocol_version=1)
    study.sync()
    (run,) = study.found("tags.`isoclock.kind` = 'student'")
    assert run.data.tags["protocol_version"] == str(VERSION)
    assert "work/peak_mib" not in run.data.metrics, "nothing of a profile of another version"
    assert run.data.metrics["miou"] == 0.5
    study.student(CELL, run_id="two", started=1_700_001_000.0)
    study.profile("streets", "demo", "kd")
    earlier = documents.scores(Cell.parse(CELL), weights=study.weights_of("two"), protocol_version=1)
    write(study.results / "evaluate" / CELL / "scores.json", earlier)
    study.sync()
    (run,) = study.found("tags.`isoclock.run_id` = 'two'")
    assert run.data.metrics["work/peak_mib"] == 321.0
    assert "miou" not in run.data.metrics, "nor scores of another version"


def test_a_run_keeps_the_cost_that_it_was_planned_with(study: Any) -> None:
    study.student(CELL, run_id="one")
    study.profile("streets", "demo", "kd", ratio=2.5)
    study.sync()
    (run,) = study.found("tags.`isoclock.kind` = 'student'")
    assert run.data.metrics["cost_ratio"] == 1.5
    assert "work/peak_mib" not in run.data.metrics, "it is that of the method as it is now"


def test_curves_have_the_steps_and_times_of_the_ledger(study: Any) -> None:
    study.student(CELL, run_id="one")
    study.sync()
    (run,) = study.found("tags.`isoclock.kind` = 'student'")
    history = study.client.get_metric_history(run.info.run_id, "val/miou")
    assert [(point.step, point.value, point.timestamp) for point in history] == [
        (20, 0.2, 1_700_000_020_000),
        (40, 0.4, 1_700_000_040_000),
    ]
    assert {"train/loss", "train/term/ce", "train/term/kd", "train/lr", "train/iterations_per_s"} <= set(
        run.data.metrics
    )
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_000, 1_700_000_100_000)


def test_artifacts_can_be_opened(study: Any, tmp_path: Path) -> None:
    study.student(CELL, run_id="one")
    study.sync()
    (run,) = study.found("tags.`isoclock.kind` = 'student'")
    folder = Path(study.client.download_artifacts(run.info.run_id, "", str(tmp_path)))
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file()}
    assert {
        "record.json",
        "ledger.jsonl",
        "scores.json",
        "per_class.json",
        "per_class.md",
        "overlays/street_0.png",
        "digests.json",
    } <= names
    assert json.loads((folder / "digests.json").read_text())["weights"] == study.weights_of("one")
    assert not any(name.startswith("digests") for name in run.data.tags)
    assert "| traffic light | 40.00 |" in (folder / "per_class.md").read_text()
    assert (study.root / "mlartifacts").is_dir()


def test_syncing_again_writes_nothing(study: Any) -> None:
    study.small_grid()
    study.sync(grid_name="demo")
    before = study.census()
    again = study.sync(grid_name="demo")
    assert (again.created, again.updated, again.unchanged) == (0, 0, 7)
    assert not again.changed
    assert study.census() == before


def test_a_deleted_store_is_rebuilt(study: Any) -> None:
    study.small_grid()
    study.sync(grid_name="demo")
    before = study.census()
    for path in (study.root / "mlflow.db", *study.root.glob("mlflow.db-*")):
        path.unlink()
    shutil.rmtree(study.root / "mlartifacts")
    with pytest.raises(UserError, match="restart this process"):  # MLflow keeps the removed file open
        study.sync(grid_name="demo")
    sync_in_a_process = functools.partial(sync, study.results, study.runs, study.uri, grid_name="demo")
    process = multiprocessing.get_context("spawn").Process(target=sync_in_a_process)
    process.start()
    process.join(120)
    assert process.exitcode == 0
    study.uri = f"sqlite:///{shutil.copy(study.root / 'mlflow.db', study.root / 'copy.db')}"
    assert study.census() == before


def test_an_interrupted_sync_is_finished_by_the_next(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study.student(CELL, run_id="one")
    with monkeypatch.context() as patch:

        def fail(*_: Any) -> None:
            raise ConnectionError("gone in the middle")

        patch.setattr("isoclock.tracking.mirror.Mirror._log_artifacts", fail)
        with pytest.raises(UserError, match="gone in the middle"):
            study.sync()
    assert study.sync().updated == 1
    (run,) = study.found("tags.`isoclock.kind` = 'student'")
    assert len(study.client.get_metric_history(run.info.run_id, "train/loss")) == 4
    assert run.info.status == "FINISHED"


def test_later_scores_are_added(study: Any) -> None:
    study.student(CELL, run_id="one", miou=None)
    study.sync()
    study.scores(study.results / "evaluate" / CELL, 0.5, "another run's weights")
    assert study.sync().updated == 0
    for miou in (0.5, 0.45):  # the second: scored again with other code
        study.scores(study.results / "evaluate" / CELL, miou, study.weights_of("one"))
        assert study.sync().updated == 1
        (run,) = study.found("tags.`isoclock.kind` = 'student'")
        assert run.data.metrics["miou"] == miou
    assert len(study.client.get_metric_history(run.info.run_id, "train/loss")) == 4


def test_a_retrained_cell_supersedes_its_older_run(study: Any) -> None:
    study.student(CELL, run_id="old", miou=0.3)
    study.sync()
    study.student(CELL, run_id="new", miou=0.6, started=1_700_001_000.0)
    summary = study.sync()
    assert (summary.created, summary.superseded) == (1, 1)
    flags = {run.data.tags["isoclock.run_id"]: run.data.tags["isoclock.superseded"] for run in _students(study)}
    assert flags == {"old": "true", "new": "false"}
    assert {run.info.status for run in _students(study)} == {"FINISHED"}
    study.student(CELL, run_id="old", miou=0.3)  # the older results are checked out again
    study.sync()
    flags = {run.data.tags["isoclock.run_id"]: run.data.tags["isoclock.superseded"] for run in _students(study)}
    assert flags == {"old": "false", "new": "true"}
    assert not study.sync().changed


def test_a_new_profile_supersedes_the_older_one(study: Any) -> None:
    study.profile("streets", "demo", "kd", ratio=1.5)
    study.sync()
    study.profile("streets", "demo", "kd", ratio=1.2)
    assert study.sync().superseded == 1
    (run,) = study.found("tags.`isoclock.kind` = 'profile' AND tags.`isoclock.superseded` = 'false'")
    assert run.data.metrics["cost_ratio"] == 1.2


def test_a_diverged_run_is_a_result(study: Any) -> None:
    study.student(CELL, run_id="one", status="diverged", miou=None)
    study.sync()
    (run,) = _students(study)
    assert (run.info.status, run.data.tags["status"]) == ("FAILED", "diverged")
    assert "NaN" in run.data.tags["message"]


def test_a_live_run_is_followed_to_its_end(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_sources, "STALE_S", 1e12)  # the ledger of this test is of 2023
    lines = study.ledger()[:-1]
    upto = [line["event"] for line in lines].index("checkpoint") + 1
    study.student(CELL, run_id="one", live=True, events=[*lines[:upto], study.train(30, 99.0)])
    assert study.sync().running == 1
    (run,) = _students(study)
    assert run.info.status == "RUNNING"
    assert [point.step for point in study.client.get_metric_history(run.info.run_id, "train/loss")] == [10, 20]

    # Killed after iteration 30, resumed from the checkpoint at 20, trained to the end and published.
    resumed = [*lines[:upto], study.train(30, 99.0), study.event("start", 20), *lines[upto:], study.event("finish", 40)]
    study.student(CELL, run_id="one", events=resumed)
    assert study.sync().updated == 1
    (run,) = _students(study)
    history = study.client.get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, round(point.value, 4)) for point in history] == [(10, 0.4), (20, 0.2), (30, 0.1333), (40, 0.1)]
    assert run.info.status == "FINISHED"


def test_stopped_silent_and_missing_runs_are_killed(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = study.ledger()[:-1]
    stopped, silent, vanished = (f"streets/demo/kd/compute-400/{seed}" for seed in range(3))
    with monkeypatch.context() as patch:
        patch.setattr(run_sources, "STALE_S", 1e12)
        study.student(stopped, run_id="a", live=True, events=[*lines, study.event("stop", 40, reason="SIGTERM")])
        study.student(silent, run_id="b", live=True, events=lines)
        folder = study.student(vanished, run_id="c", live=True, events=lines)
        study.sync()
        assert [run.info.status for run in _students(study)] == ["KILLED", "RUNNING", "RUNNING"]
        shutil.rmtree(folder)
    assert study.sync().closed == 1
    assert [run.info.status for run in _students(study)] == ["KILLED"] * 3
    assert [run.data.tags["status"] for run in _students(study)] == ["stopped", "silent", "gone"]
    study.student(silent, run_id="b", live=True, events=[*lines, study.event("train", 50, unix=time.time())])
    study.sync()
    assert [run.info.status for run in _students(study)] == ["KILLED", "RUNNING", "KILLED"]


def test_cells_select_what_is_synced_and_grids_accumulate(study: Any) -> None:
    study.small_grid()
    cell = Cell("streets", "demo", "kd", "compute-400", 0)
    assert study.sync(grid_name="figure1", cells=[cell]).created == 4  # the cell, the teacher, two profiles
    study.sync(grid_name="demo")
    (run,) = study.found("params.method = 'kd' AND params.budget = 'compute-400'")
    assert run.data.tags["grid"] == "demo,figure1"


def test_a_teacher_of_another_data_set_is_in_its_experiment(study: Any) -> None:
    study.teacher("avenues", "r101")
    study.profile("streets", "demo", "kd")
    study.student(CELL, run_id="one")
    cell = Cell("streets", "demo", "kd", "compute-400", 0)
    assert study.sync(cells=[cell]).created == 2, "no data set is named whose teachers they use"
    assert study.sync(cells=[cell], teachers_of=["avenues", "streets"]).created == 1
    (teacher,) = study.found("tags.`isoclock.kind` = 'teacher'")
    (student,) = _students(study)
    assert teacher.data.metrics["miou"] == 0.7
    assert study.client.get_experiment(teacher.info.experiment_id).name == "avenues"
    assert student.info.experiment_id != teacher.info.experiment_id
    version = study.client.get_model_version_by_alias("streets.demo", "teacher")
    assert version.run_id == teacher.info.run_id, "the registry of a pair has its teacher, wherever it was trained"


def test_an_unreadable_record_is_reported_and_the_rest_is_synced(study: Any) -> None:
    study.student(CELL, run_id="one")
    broken = study.student("streets/demo/kd/compute-400/1", run_id="two") / "record.json"
    broken.write_text("{")
    lacking = study.student("streets/demo/kd/compute-400/2", run_id="three") / "record.json"
    lacking.write_text('{"run_id": "three"}')
    summary = study.sync()
    assert summary.created == 1
    assert [str(broken) in summary.problems[0], str(lacking) in summary.problems[1]] == [True, True]


def test_weights_of_another_cell_are_not_uploaded(study: Any) -> None:
    folder = study.student(CELL, run_id="one")
    (folder / "weights.safetensors").write_bytes(b"two")
    (problem,) = study.sync().problems
    assert f"{folder}/weights.safetensors: not the weights that record.json names (its SHA-256 is " in problem
    (run,) = study.found("tags.`isoclock.kind` = 'student'")
    assert not run.outputs.model_outputs


def test_two_syncs_on_a_new_store_wait_for_each_other(study: Any) -> None:
    study.small_grid()
    uri = f"sqlite:///{study.root / 'fresh.db'}"
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=sync, args=(study.results, study.runs, uri)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    study.uri = uri
    assert len(study.found()) == 7


def test_a_server_gets_the_same(study: Any, server: str) -> None:
    study.small_grid()
    study.sync(grid_name="demo")
    local = study.census()
    study.uri = server
    assert study.sync(grid_name="demo").created == 7
    assert study.census() == local
    assert not study.sync(grid_name="demo").changed
    (run,) = study.found(f"tags.`isoclock.key` = '{CELL}'")
    overlays = study.client.list_artifacts(run.info.run_id, "overlays")
    assert [item.path for item in overlays] == ["overlays/street_0.png"]


def test_a_restarted_server_gets_what_it_missed_once(study: Any, mortal_server: Any) -> None:
    study.uri = mortal_server.address
    ended, goes_on, gone = (f"streets/demo/kd/compute-400/{seed}" for seed in range(3))
    alive = [*study.ledger()[:-1], study.event("train", 50, unix=time.time())]
    folders = {
        cell: study.student(cell, run_id=run_id, live=True, events=alive)
        for run_id, cell in zip("abc", (ended, goes_on, gone), strict=True)
    }
    assert study.sync().created == 3
    assert [run.info.status for run in _students(study)] == ["RUNNING"] * 3
    mortal_server.kill()
    study.student(ended, run_id="a")
    shutil.rmtree(folders[gone])
    with pytest.raises(UserError, match=r"127\.0\.0\.1"):
        study.sync()
    mortal_server.start()
    summary = study.sync()
    assert (summary.created, summary.changed) == (0, True)
    assert [run.info.status for run in _students(study)] == ["FINISHED", "RUNNING", "KILLED"]
    before = study.census()
    assert not study.sync().changed
    assert study.census() == before
    assert len(study.found()) == 3


def test_watch_follows_until_stopped(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoclock.tracking.syncing._REST", 0.0)
    study.student(CELL, run_id="one")
    lines: list[str] = []
    stop = threading.Event()

    def progress(line: str) -> None:
        lines.append(line)
        if len(lines) == 1:
            study.student("streets/demo/kd/compute-400/1", run_id="two")
        else:
            stop.set()

    summary = watch(study.results, study.runs, study.uri, interval_s=0.05, stop=stop, progress=progress)
    assert lines == [f"created {CELL}", "created streets/demo/kd/compute-400/1"]
    assert (summary.created, summary.unchanged) == (1, 1)


def test_an_incomplete_line_is_read_later(study: Any) -> None:
    folder = study.student(CELL, run_id="one", live=True, events=study.ledger()[:-1])
    with (folder / "ledger.jsonl").open("a") as stream:
        stream.write('{"event": "train", "iter')
    assert study.sync().problems == []
    assert len(_students(study)) == 1


def test_lines_that_are_no_events_are_reported_and_the_run_is_shown(study: Any) -> None:
    study.student(CELL, run_id="whole")
    other = study.student("streets/demo/kd/compute-400/1", run_id="damaged")
    lines = (other / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    garbage = [b"[]\n", b"\xff\n", b'{"event": "train", "unix": 0, "iteration": 5, "terms": 7}\n']
    (other / "ledger.jsonl").write_bytes(b"".join([*garbage, *lines]))
    with pytest.warns(UserWarning, match=r"1/ledger\.jsonl: 3 lines are not events, first line 1; left out"):
        assert study.sync().problems == []
    shown = {key.partition(" ")[2]: found for key, found in study.census().items()}
    assert shown["damaged"] == shown["whole"], "status, and numbers of points, params and artifacts"


def test_a_long_curve_has_a_thousand_points(tmp_path: Path) -> None:
    cell = Cell.parse(CELL)
    results = Results(Layout(tmp_path / "results", tmp_path / "runs"))
    folder = results.layout.student(cell)
    folder.mkdir(parents=True)
    text = '{{"event": "train", "unix": {0}.5, "iteration": {0}, "loss": 1.0, "train_s": {0}.25}}\n'
    (folder / "ledger.jsonl").write_text("".join(text.format(number) for number in range(20, 100_001, 20)))
    record = documents.student_record(cell, documents.plan(cell, 100_000))
    curve = [one.iteration for one in student_source(results, cell, record).steps if one.name == "train/loss"]
    assert curve == [20, *range(100, 100_001, 100)]


def test_tracking_needs_no_torch(tmp_path: Path) -> None:
    code = "import sys, isoclock.tracking; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, timeout=60).returncode == 0


def _students(study: Any) -> list[Any]:
    return sorted(study.found("tags.`isoclock.kind` = 'student'"), key=lambda run: run.data.tags["isoclock.run_id"])
