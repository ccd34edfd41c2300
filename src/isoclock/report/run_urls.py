"""Where the report finds the MLflow page of each cell. Read from the SQLite file: importing mlflow takes seconds."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

ADDRESS = "http://127.0.0.1:5000"  # of `isoclock ui` without options
_SQLITE = "sqlite:///"
_RUNS = """
SELECT key.value, runs.experiment_id, runs.run_uuid FROM runs
JOIN tags AS key ON key.run_uuid = runs.run_uuid AND key.key = 'isoclock.key'
LEFT JOIN tags AS old ON old.run_uuid = runs.run_uuid AND old.key = 'isoclock.superseded'
WHERE runs.lifecycle_stage = 'active' AND coalesce(old.value, 'false') != 'true'
"""


def run_urls(uri: str | None = None) -> dict[str, str]:
    """URL of the run of each cell by the cell's path, as `isoclock ui` serves it.

    Empty for a store that is not a SQLite file, whose file does not exist yet, or that cannot be read: the report waits for no
    server, and does not fail for want of links.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
    path = Path(uri.removeprefix(_SQLITE)).absolute()
    if not uri.startswith(_SQLITE) or not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0)) as store:
            return {key: f"{ADDRESS}/#/experiments/{where}/runs/{run}" for key, where, run in store.execute(_RUNS)}
    except sqlite3.Error:
        return {}
