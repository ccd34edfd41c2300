from __future__ import annotations

from pathlib import Path

import pytest
from tracked_study import Study

from isoclock.tracking.run_urls import run_urls

CELL = "streets/demo/kd/compute-400/0"


def test_every_cell_has_the_address_of_its_run(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study.student(CELL, run_id="a")
    study.sync()
    (run,) = study.found(f"tags.`isoclock.key` = '{CELL}'")
    # Each page of the search has one run: the pair and the cell are on different pages.
    monkeypatch.setattr("isoclock.tracking.run_urls.SEARCHED_AT_ONCE", 1)
    address = f"http://127.0.0.1:5000/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    assert run_urls(study.uri)[CELL] == address


def test_a_store_that_is_not_there_or_is_a_server_is_not_waited_for(tmp_path: Path) -> None:
    assert run_urls(f"sqlite:///{tmp_path / 'mlflow.db'}") == {}
    assert not list(tmp_path.iterdir())
    assert run_urls("http://127.0.0.1:9") == {}
    (tmp_path / "other.db").write_text("not a database")
    assert run_urls(f"sqlite:///{tmp_path / 'other.db'}") == {}
