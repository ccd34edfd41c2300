"""What the pages of MLflow show first: columns, order and descriptions."""

from __future__ import annotations

import json
from collections.abc import Mapping

from isoclock.tracking.source import RunSource

_MODE = "workflowType=machine_learning"  # without it, MLflow (3.17) shows its pages for language models
VIEW = "isoclock"
"""Key of the shared view of an experiment: `?viewStateShareKey=isoclock` in the URL of its list of runs."""

FILTER = (
    "tags.`isoclock.kind` != 'profile' AND tags.`isoclock.kind` != 'report' AND tags.`isoclock.superseded` = 'false'"
)
COLUMNS = (
    "metrics.`miou`",
    "metrics.`cost_ratio`",
    "params.`method`",
    "params.`budget`",
    "params.`seed`",
    "params.`pair`",
    "params.`protocol`",
    "params.`precision`",
    "tags.`marks`",
)

_ABOUT = """\
Teachers and cells of data set `{dataset}`. A cell is one student: a method, trained for a budget with a seed.
- `miou`: on val, 0..1. `cost_ratio`: anchor-steps of an iteration (a step of the student alone is 1).
- `work/deviation`: time spent over time planned, minus 1. `marks`: why a cell is left out of matched tables.
- Compare methods at equal time: filter `params.protocol = 'compute'`, and group by `method` and `budget`.
- Cost profiles: filter ``tags.`isoclock.kind` = 'profile'``. Reports: ``tags.`isoclock.kind` = 'report'``.
- Models: tab Models; in the registry, aliases name the teacher and the best method of each budget.
"""


def experiment_tags(dataset: str) -> dict[str, str]:
    """Tags of an experiment: its description, and the view of its runs, sorted by mIoU."""
    view = {
        "searchFilter": FILTER,
        "orderByKey": "metrics.`miou`",
        "orderByAsc": False,
        "selectedColumns": list(COLUMNS),
    }
    return {
        # Without it, MLflow 3 opens an experiment among its pages for language models.
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": _ABOUT.format(dataset=dataset),
        f"mlflow.sharedViewState.{VIEW}": json.dumps(view),
    }


def runs_page(address: str, experiment_id: str) -> str:
    """URL of the runs of an experiment, sorted by mIoU, in MLflow's mode for training."""
    return f"{address}/#/experiments/{experiment_id}/runs?{_MODE}&viewStateShareKey={VIEW}"


def run_note(source: RunSource, experiment_id: str, reports: Mapping[str, str]) -> str:
    """Description of a run. `reports` has the runs of reports by grid; a browser does not open links to folders."""
    links = [
        f"[report of grid {grid}](#/experiments/{experiment_id}/runs/{run_id}/artifacts/report.html?{_MODE})"
        for grid, run_id in sorted(reports.items())
        if source.kind != "report"
    ]
    own = ["open `report.html` under Artifacts"] if source.kind == "report" else []
    return ", ".join([f"`{source.key}`", f"folder `{source.folder}`", *own, *links])
