"""Drivers of databases, a study that was moved, and a real PostgreSQL server."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
from mlflow.tracking._tracking_service import utils
from tracked_study import Study

from isoclock.errors import UserError
from isoclock.tracking import resolve_uri, sync

CELL = "streets/demo/kd/compute-400/0"


@pytest.mark.parametrize(
    ("uri", "advice"),
    [
        ("mysql+pymysql://ann:s@cret@db/x", "driver pymysql is not installed; run: pip install pymysql"),
        ("mysql://ann:s@cret@db/x", "run: pip install mysqlclient"),
        ("postgresql+psycopg2://ann:s@cret@db/x", r"pip install psycopg2-binary \(or use postgresql\+pg8000://\)"),
        ("postgresql+nothing://ann:s@cret@db/x", r"not a valid address; write postgresql\+pg8000://USER"),
        ("postgresql://ann:s@cret@db:port/x", "not a valid address"),
    ],
)
def test_a_database_without_a_driver_is_one_line(uri: str, advice: str) -> None:
    with pytest.raises(UserError, match=advice) as caught:
        resolve_uri(uri)
    assert len(caught.value.problems) == 1
    assert "cret" not in str(caught.value)


def moved_to(study: Study, folder: Path) -> Study:
    """The study at its new place, as a new process sees it: MLflow remembers where it writes a run's artifacts."""
    utils._artifact_repos_cache.clear()
    return Study(folder, f"sqlite:///{folder / 'mlflow.db'}")


def artifacts(study: Study) -> dict[str, str]:
    """The folder of each student's run, by run id; its record is there, and its weights are those of its model."""
    found = {}
    for run in study.found("tags.`isoclock.kind` = 'student'"):
        folder = Path(unquote(run.info.artifact_uri.removeprefix("file://")))
        run_id = run.data.tags["isoclock.run_id"]
        assert (folder / "record.json").is_file()
        model = study.client.get_logged_model(run.data.tags["isoclock.model"])
        weights = Path(unquote(model.artifact_location.removeprefix("file://"))) / "weights.safetensors"
        assert weights.read_bytes() == run_id.encode()
        assert weights.parents[3] == folder.parents[1]
        found[run_id] = str(folder)
    return found


def test_artifacts_follow_a_study_that_was_moved(study: Study, tmp_path: Path) -> None:
    root = tmp_path / "before"
    root.mkdir()
    for suffix in ("", ".lock"):
        shutil.move(tmp_path / f"mlflow.db{suffix}", root)
    before = Study(root, f"sqlite:///{root / 'mlflow.db'}")
    before.student(CELL, run_id="one")
    before.sync()
    after = moved_to(before, tmp_path / "a new place")
    root.rename(after.root)
    after.student(CELL.replace("/0", "/1"), run_id="two")
    said: list[str] = []
    assert after.sync(progress=said.append).line == "runs: 1 created, 0 updated, 1 unchanged"
    assert said[0] == f"streets: the study was moved; artifacts are now below {after.root}/mlartifacts/streets"
    assert not root.exists()
    version = after.client.get_model_version_by_alias("streets.demo", "best-at-compute-400")
    assert version.source.startswith(f"file://{tmp_path}/a%20new%20place/")
    assert all(folder.startswith(f"{after.root}/") for folder in artifacts(moved_to(after, after.root)).values())
    assert not after.sync().changed


def test_artifacts_that_did_not_move_along_are_written_again(study: Study, tmp_path: Path) -> None:
    study.student(CELL, run_id="one")
    study.sync()
    copy = moved_to(study, tmp_path / "copy")
    shutil.copytree(study.results, copy.results)
    shutil.copy(study.root / "mlflow.db", copy.root)
    assert copy.sync().updated == 1
    assert artifacts(copy)["one"].startswith(f"{copy.root}/")
    assert not copy.sync().changed


def test_postgresql_gets_the_same(study: Study, postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study.root)  # artifacts are in the working directory
    study.student(CELL, run_id="one")
    study.student(CELL.replace("/0", "/1"), run_id="two", status="diverged", miou=None)
    study.teacher("streets", "r101")
    study.profile("streets", "demo", "kd")
    study.sync()
    expected = study.census()
    on_server = Study(study.root, resolve_uri(postgresql))
    assert on_server.uri.startswith("postgresql")
    assert on_server.sync().created == 4
    assert on_server.census() == expected
    assert not on_server.sync().changed
    elsewhere = study.root / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    utils._artifact_repos_cache.clear()
    on_server.sync()
    assert on_server.census() == expected, "artifacts that were not moved along are written again"
    assert all(folder.startswith(f"{elsewhere}/") for folder in artifacts(on_server).values())


def test_an_unusable_postgresql_is_one_line(tmp_path: Path, postgresql: str) -> None:
    at = postgresql.rpartition("@")[2]
    started = time.monotonic()
    for uri, reason in (
        (f"postgresql://isoclock:wr%40ng@{at}", 'password authentication failed for user "isoclock"'),
        (f"{postgresql}x", 'database "postgresx" does not exist'),
        (f"{postgresql}?sslmode=require", "correct the options after"),
        ("postgresql://isoclock:wr%40ng@127.0.0.1:1/postgres", "no server answers at this address"),
    ):
        with pytest.raises(UserError, match=reason) as caught:
            sync(tmp_path, tmp_path, uri)
        assert len(caught.value.problems) == 1
        assert "ng@" not in str(caught.value)
        assert "cret" not in str(caught.value)
    assert time.monotonic() - started < 20, "MLflow would try for minutes"
