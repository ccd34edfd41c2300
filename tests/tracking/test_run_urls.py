from __future__ import annotations

from pathlib import Path

from tracked_study import Study

from isoclock.report.run_urls import run_urls

CELL = "streets/demo/kd/compute-400/0"


def test_every_cell_has_the_address_of_its_run(study: Study) -> None:
    study.student(CELL, run_id="a")
    study.sync()
    (run,) = study.found(f"tags.`isoclock.key` = '{CELL}'")
    address = f"http://127.0.0.1:5000/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    assert run_urls(study.uri)[CELL] == address


def test_a_store_that_is_not_there_or_is_a_server_is_not_waited_for(tmp_path: Path) -> None:
    assert run_urls(f"sqlite:///{tmp_path / 'mlflow.db'}") == {}
    assert not list(tmp_path.iterdir())
    assert run_urls("http://127.0.0.1:9") == {}
    (tmp_path / "other.db").write_text("not a database")
    assert run_urls(f"sqlite:///{tmp_path / 'other.db'}") == {}
