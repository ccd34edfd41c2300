"""What a report writes for DVC, and what DVC's own commands read of it through the project's dvc.yaml."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from results_tree import ResultsTree, cell

from isoclock.report.collect import collect
from isoclock.report.dvc_files import write_dvc_files

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("results/report/demo/dvc")


@pytest.fixture
def written(tree: ResultsTree, tmp_path: Path) -> Path:
    """The files of two methods with two seeds, of which one diverged."""
    tree.teacher()
    for method in ("none", "kd"):
        tree.profile(method)
        for seed in (0, 1):
            of = cell(method, "compute-400", seed)
            if (method, seed) == ("kd", 1):
                tree.student(of, status="diverged", message="loss is nan at iteration 73")
            else:
                tree.scored(of)
            ledger = [{"event": "start", "iteration": 0}]
            for iteration in range(20, 401, 20):
                train = {"event": "train", "iteration": iteration, "loss": 40 / iteration, "train_s": iteration / 10}
                ledger += [train, {"event": "evaluate", "iteration": iteration, "miou": iteration / 1000}]
            lines = [json.dumps({**event, "unix": 0}) + "\n" for event in ledger]
            (tree.root / "student" / of.path / "ledger.jsonl").write_text("".join(lines))
    study = collect(tree.root, tree.cells)
    write_dvc_files(study, tmp_path / FOLDER)
    return tmp_path / FOLDER


def test_metrics_are_means_over_finished_seeds(written: Path, tree: ResultsTree) -> None:
    found = json.loads((written / "metrics.json").read_text())
    rows = collect(tree.root, tree.cells).rows
    scored = [row.miou for row in rows if row.method == "none" and row.miou is not None]
    assert found["cells"] == {"all": 4, "finished": 3}
    assert found["none"]["compute-400"]["miou"] == pytest.approx(sum(scored) / 2)
    assert found["kd"]["compute-400"]["miou"] == next(row.miou for row in rows if row.method == "kd")
    assert found["kd"]["cost_ratio"] > found["none"]["cost_ratio"]
    assert 0 < found["teacher"]["miou"] < 1


def test_curves_have_a_line_for_each_point(written: Path) -> None:
    header, first, *others = (written / "loss.csv").read_text().splitlines()
    assert header == "cell,method,budget,iteration,train_s,loss"
    assert first == "none compute-400 0,none,compute-400,20,2.0,2.0"
    assert {line.split(",")[0] for line in others} == {f"{m} compute-400 {s}" for m in ("none", "kd") for s in (0, 1)}
    assert "kd compute-400 0,kd,compute-400,400,40.0,0.4" in (written / "miou.csv").read_text().splitlines()


def test_dvc_shows_metrics_params_and_curves(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.repo import Repo

    monkeypatch.setenv("DVC_NO_ANALYTICS", "true")
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    (tmp_path / "params/grids").mkdir(parents=True)
    shutil.copy(ROOT / "params/grids/demo.yaml", tmp_path / "params/grids")
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        shutil.copytree(ROOT / ".dvc/plots", tmp_path / ".dvc/plots")
        (metrics,) = repo.metrics.show()[""]["data"].values()
        assert metrics["data"]["kd"]["compute-400"]["miou"] > 0
        params = repo.params.show()[""]["data"]
        assert set(params) == {"params/grids/demo.yaml", str(FOLDER / "params.json")}
        assert params[str(FOLDER / "params.json")]["data"]["iterations"]["compute-400"]["kd"] > 0
        plots = repo.plots.show()["workspace"]
        shown = {
            name: definition
            for one in plots["definitions"]["data"].values()
            for name, definition in one["data"].items()
        }
        assert set(shown) == {"mIoU on val", "loss"}
        for definition in shown.values():
            (path,) = definition["y"]
            (field,) = definition["y"].values()
            points: list[dict[str, Any]] = plots["sources"]["data"][path]["data"]
            assert {point["cell"] for point in points} >= {"kd compute-400 0"}
            assert {definition["x"], field} <= set(points[0])
        template = json.loads((tmp_path / ".dvc/plots" / f"{definition['template']}.json").read_text())
        assert template["encoding"]["color"]["field"] == "cell"
