"""A synced study in the MLflow UI, in a real browser.

ISOCLOCK_SCREENSHOTS=FOLDER saves screenshots.
"""

from __future__ import annotations

import hashlib
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
from isoclock.tracking.ui import run_pages

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def ledger(iterations: int, gain: float) -> str:
    events: list[dict[str, Any]] = [{"event": "start", "iteration": 0}]
    for iteration in range(10, iterations + 1, 10):
        loss = 3 * math.exp(-iteration / 100) + 0.3 - gain
        events.append({"event": "train", "iteration": iteration, "loss": loss, "terms": {"ce": loss / 2}, "lr": 0.01})
        if iteration % 50 == 0:
            events.append({"event": "evaluate", "iteration": iteration, "miou": iteration / 1000 + gain})
            events.append({"event": "system", "iteration": iteration, "cpu_percent": 80 + iteration / 40})
    return "".join(json.dumps(event | {"unix": 1_700_000_000.0 + event["iteration"]}) + "\n" for event in events)


def write_student(results: Path, method: str, seed: int, gain: float, teacher: str) -> None:
    cell, layout = Cell("streets", "demo", method, "compute-400", seed), Layout(results)
    folder, weights = layout.student(cell), f"weights of {cell.path}".encode()
    digest = hashlib.sha256(weights).hexdigest()
    ratio = {"none": 1.0, "kd": 1.4, "cwd": 1.6}[method]
    record = documents.student_record(
        cell,
        documents.plan(cell, 400, ratio, 0.073),
        [documents.segment(40.0, 0.07, iterations=400)],
        run_id=documents.digest(cell.path)[:32],
        digests={"weights": digest, "teacher": teacher},
        environment={"commit": "4553d90fd6494a35792544958464721630cffbd2"},
        params={"recipe": {"precision": "fp32"}},
    )
    write(folder / "record.json", record)
    (folder / "ledger.jsonl").write_text(ledger(400, gain))
    (folder / "weights.safetensors").write_bytes(weights)
    scores = documents.scores(cell, 0.4 + gain, digest, {"road": 0.9, "kerb": None, "sky": 0.6})
    write(layout.evaluation(cell) / "scores.json", scores)


def write_teacher(results: Path) -> str:
    """A teacher with the digest of its weights."""
    folder, digest = Layout(results).teacher("streets", "r101"), hashlib.sha256(b"teacher").hexdigest()
    write(folder / "record.json", documents.teacher_record("streets", "r101", digests={"weights": digest}))
    (folder / "ledger.jsonl").write_text(ledger(400, 0.2))
    (folder / "weights.safetensors").write_bytes(b"teacher")
    write(folder / "scores.json", documents.scores(None, 0.7, digest))
    return digest


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address of the MLflow UI for a study of two methods, and its store."""
    root = tmp_path_factory.mktemp("study")
    uri = f"sqlite:///{root / 'mlflow.db'}"
    teacher = write_teacher(root / "results")
    for method, gain in (("none", 0.0), ("kd", 0.05), ("cwd", 0.03)):
        write(Layout(root / "results").profile("streets", "demo", method), documents.profile(method, pair="demo"))
        for seed in (0, 1):
            write_student(root / "results", method, seed, gain + seed / 1000, teacher)
    report = Layout(root / "results").report_page("demo")
    report.parent.mkdir(parents=True)
    report.write_text("<h1>The report of the study</h1>")
    upgrade_store(uri)
    cells = [
        Cell("streets", "demo", method, "compute-400", seed) for method in ("none", "kd", "cwd") for seed in (0, 1)
    ]
    sync_study(root / "results", root / "runs", uri, grid_name="demo", cells=cells)
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
        page = browser.new_page(viewport={"width": 1900, "height": 1000})
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


def test_the_cells_are_listed_by_miou(page: Any, served: tuple[str, str]) -> None:
    address, uri = served
    pages = run_pages(uri, "127.0.0.1", int(address.rpartition(":")[2]))
    assert list(pages) == ["streets"]
    page.goto(pages["streets"])
    page.get_by_text("teacher r101").first.wait_for()
    assert page.get_by_text("Prompts", exact=True).count() == 0  # MLflow's mode for training, not for language models
    keep(page, "runs")
    names = [
        "teacher r101",
        *(f"{method} compute-400 seed {seed}" for method in ("kd", "cwd", "none") for seed in (1, 0)),
    ]
    shown = {name: page.get_by_role("link", name=name).first.bounding_box()["y"] for name in names}
    assert sorted(shown, key=shown.__getitem__) == names
    assert page.get_by_text("profile kd").count() == 0
    for column in ("miou", "cost_ratio", "method", "budget", "seed"):
        page.locator(".ag-header").get_by_text(column, exact=True).wait_for()


def test_a_run_shows_its_params_metrics_and_curves(page: Any, served: tuple[str, str]) -> None:
    address, uri = served
    found = ids(uri)
    run = f"{address}/#/experiments/{found['experiment']}/runs/{found['streets/demo/kd/compute-400/0']}"
    page.goto(run)
    page.get_by_text("kd compute-400 seed 0").first.wait_for()
    page.get_by_text("method.implementation").first.wait_for()
    page.get_by_text("val/iou/road").first.wait_for()
    keep(page, "run")
    with page.expect_popup() as popup:
        page.get_by_role("link", name="report of grid demo").click()
    popup.value.frame_locator("iframe").get_by_text("The report of the study").wait_for()
    keep(popup.value, "report")
    popup.value.close()
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


def test_models_and_their_aliases_are_shown(page: Any, served: tuple[str, str]) -> None:
    address, uri = served
    page.goto(f"{address}/#/models/streets.demo?workflowType=machine_learning")
    for alias in ("teacher", "best-at-compute-400"):
        page.get_by_text(alias).first.wait_for()
    keep(page, "registry")
    page.goto(f"{address}/#/experiments/{ids(uri)['experiment']}/models?workflowType=machine_learning")
    page.get_by_text("kd compute-400 seed 0").first.wait_for()
    keep(page, "models")
    run = f"{address}/#/experiments/{ids(uri)['experiment']}/runs/{ids(uri)['streets/demo/kd/compute-400/0']}"
    page.goto(f"{run}/system-metrics")
    page.get_by_text("cpu_utilization_percentage").first.wait_for()
    keep(page, "system")
