"""A synced study in the MLflow UI, in a real browser.

ISOCLOCK_SCREENSHOTS=FOLDER saves screenshots.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import documents
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.records.document import write
from isoclock.tracking import serve_ui, upgrade_store
from isoclock.tracking import sync as sync_study
from isoclock.tracking.ui import first_page, run_pages

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def write_student(results: Path, method: str, gain: float) -> None:
    cell, layout = Cell("streets", "demo", method, "compute-400", 0), Layout(results)
    folder = layout.student(cell)
    events: list[dict[str, Any]] = [{"event": "start", "iteration": 0}]
    for iteration in range(10, 401, 10):
        loss = 3 * math.exp(-iteration / 100) + 0.3 - gain
        events.append({"event": "train", "iteration": iteration, "loss": loss, "terms": {"ce": loss / 2}, "lr": 0.01})
        if iteration % 50 == 0:
            events.append({"event": "evaluate", "iteration": iteration, "miou": iteration / 1000 + gain})
    lines = [json.dumps(event | {"unix": 1_700_000_000.0 + event["iteration"]}) + "\n" for event in events]
    record = documents.student_record(cell, documents.plan(cell, 400, 1.4, 0.073), [documents.segment(40.0, 0.07)])
    write(folder / "record.json", record)
    (folder / "ledger.jsonl").write_text("".join(lines))
    scores = documents.scores(cell, 0.4 + gain, per_class_iou={"road": 0.9, "kerb": None, "sky": 0.6})
    write(layout.evaluation(cell) / "scores.json", scores)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address of the MLflow UI for a study of two methods, and its store."""
    root = tmp_path_factory.mktemp("study")
    uri = f"sqlite:///{root / 'mlflow.db'}"
    for method, gain in (("none", 0.0), ("kd", 0.05)):
        write_student(root / "results", method, gain)
    upgrade_store(uri)
    sync_study(root / "results", root / "runs", uri, grid_name="demo")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stop, up = threading.Event(), threading.Event()
    folders = {"results": root / "results", "runs": root / "runs", "grid_name": "demo", "port": port}
    options = {**folders, "stop": stop, "progress": lambda _: up.set()}
    thread = threading.Thread(target=serve_ui, args=(uri,), kwargs=options)
    thread.start()
    try:
        assert up.wait(120)
        yield f"http://127.0.0.1:{port}", uri
    finally:
        stop.set()
        thread.join(30)


@pytest.fixture(scope="module")
def page(served: tuple[str, str]) -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1500, "height": 950})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def keep(page: Any, name: str) -> None:
    folder = os.environ.get("ISOCLOCK_SCREENSHOTS")
    if folder:
        page.wait_for_timeout(3000)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def ids(uri: str) -> dict[str, str]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("streets")
    found = {run.data.tags["isoclock.key"]: run.info.run_id for run in client.search_runs([experiment.experiment_id])}
    return {"experiment": experiment.experiment_id, **found}


def test_the_experiment_lists_the_pair(page: Any, served: tuple[str, str]) -> None:
    address, uri = served
    page.goto(first_page("127.0.0.1", int(address.rpartition(":")[2])))
    page.get_by_text("streets").first.wait_for()
    assert page.get_by_text("Prompts", exact=True).count() == 0  # MLflow's mode for training, not for language models
    keep(page, "experiments")
    pages = run_pages(uri, "127.0.0.1", int(address.rpartition(":")[2]))
    assert list(pages) == ["streets"]
    page.goto(pages["streets"])
    page.get_by_text("pair demo").first.wait_for()
    assert page.get_by_text("Prompts", exact=True).count() == 0
    keep(page, "runs")


def test_a_run_shows_its_params_metrics_and_curves(page: Any, served: tuple[str, str]) -> None:
    address, uri = served
    found = ids(uri)
    run = f"{address}/#/experiments/{found['experiment']}/runs/{found['streets/demo/kd/compute-400/0']}"
    page.goto(run)
    page.get_by_text("kd compute-400 seed 0").first.wait_for()
    page.get_by_text("method.implementation").first.wait_for()
    page.get_by_text("val/iou/road").first.wait_for()
    keep(page, "run")
    page.goto(f"{run}/model-metrics")
    for chart in ("loss", "lr"):
        page.get_by_text(chart, exact=True).first.wait_for()
    keep(page, "curves")
    page.goto(f"{run}/artifacts/per_class.json")
    page.get_by_text("per_class.json").first.wait_for()
    keep(page, "per_class")


def test_methods_can_be_compared(page: Any, served: tuple[str, str]) -> None:
    address, uri = served
    found = ids(uri)
    keys = json.dumps([found[f"streets/demo/{method}/compute-400/0"] for method in ("none", "kd")])
    page.goto(f"{address}/#/compare-runs?runs={keys}&experiments={json.dumps([found['experiment']])}")
    page.get_by_text("miou").first.wait_for()
    keep(page, "compare")
