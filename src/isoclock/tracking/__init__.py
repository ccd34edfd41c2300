"""MLflow as a mirror of the run records. `sync` is the only writer, and can rebuild the store from them at any time.

Jobs never access MLflow: an unreachable server would block them for minutes while the train clock runs. They write
records under results/ and runs/; `sync` reads those and updates the store, as often as needed.
"""

import os

# Read by mlflow on import: compute nodes often have no internet access, and the user has not agreed to telemetry.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from isoclock.tracking.store import resolve_uri, upgrade_store
from isoclock.tracking.syncing import SyncSummary, sync, watch
from isoclock.tracking.ui import browser, serve_ui

__all__ = ["SyncSummary", "browser", "resolve_uri", "serve_ui", "sync", "upgrade_store", "watch"]
