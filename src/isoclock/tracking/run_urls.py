"""Where the report finds the MLflow page of each cell."""

from __future__ import annotations

from mlflow import MlflowClient

from isoclock.errors import UserError
from isoclock.tracking.mirror import KEY, SUPERSEDED
from isoclock.tracking.store import catch_store_errors, database_path, open_store, resolve_uri

ADDRESS = "http://127.0.0.1:5000"  # of `isoclock ui` without options
SEARCHED_AT_ONCE = 1000  # runs


def run_urls(uri: str | None = None) -> dict[str, str]:
    """URL of the run of each cell by the cell's path, as `isoclock ui` serves it.

    Empty for a store that is not a SQLite file, whose file does not exist yet, or that cannot be read: the report waits for no
    server, and does not fail for want of links.
    """
    try:
        uri = resolve_uri(uri)
        path = database_path(uri)
        if path is None or not path.is_file():
            return {}
        with catch_store_errors(uri):
            return _addresses(open_store(uri))
    except UserError:
        return {}


def _addresses(client: MlflowClient) -> dict[str, str]:
    found = {}
    for experiment in client.search_experiments():
        token = None
        while token != "":
            page = client.search_runs([experiment.experiment_id], max_results=SEARCHED_AT_ONCE, page_token=token)
            for run in page:
                if KEY in run.data.tags and run.data.tags.get(SUPERSEDED) != "true":
                    address = f"{ADDRESS}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
                    found[run.data.tags[KEY]] = address
            token = page.token or ""
    return found
