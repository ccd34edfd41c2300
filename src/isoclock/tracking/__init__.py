"""MLflow, kept as a mirror of the run records: rebuilt from them at any time, and written by nobody else.

Jobs never talk to MLflow (a dead server would hold them up for minutes, on a clock that counts). They leave records
under results/ and runs/; `sync` reads those and brings the store up to date, as often as one likes.
"""

import os

# Read by mlflow when it is imported: compute nodes often have no way out, and nobody was asked.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from isoclock.tracking.store import resolve_uri, upgrade_store
from isoclock.tracking.syncing import SyncSummary, sync, watch
from isoclock.tracking.ui import serve_ui

__all__ = ["SyncSummary", "resolve_uri", "serve_ui", "sync", "upgrade_store", "watch"]
