"""Choosing the weights of a grid from the scores of its sweep, and writing params/tuned/GRID.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from isoclock.errors import ArtifactError
from isoclock.files import sha256_json, write_text
from isoclock.grid.cells import Cell, cells
from isoclock.grid.layout import Layout
from isoclock.grid.stamps import student_values
from isoclock.params.load import Params
from isoclock.params.schema import Tuning
from isoclock.params.tuning import FOLDER, SWEEP, trained_with
from isoclock.params.variants import split_factor, whole_dataset, with_factor
from isoclock.report.collect import DIVERGED, FINISHED, CellRow, Study, collect

HEAD = """\
# Written by `isoclock tune {grid}` from the scores of grid {grid}{sweep}. After a change of the entries or of `tune`, run it again.
# miou: mean over seeds on the images held out, by factor of the weights (of `none`: of lr); null: a run diverged.
"""


def choose_weights(params: Params, grid: str, layout: Layout) -> dict[str, Any]:
    """What params/tuned/GRID.yaml contains: by data set, pair and method, the factor with the highest mean mIoU.

    Of equal ones, the factor closest to 1. A factor with a diverged run is not chosen. Raises ParamsError for a grid without
    `tune`, ArtifactError if a run of the sweep is missing, was trained with other values than params/ has, or if all diverged.
    """
    study = collect(layout.results, cells(params, grid + SWEEP), params.protocols)
    _check(params, grid, study)
    tune = params.grid(grid).tune
    assert tune is not None
    provenance = f"tuned: {grid}, {_digest(study)[:12]}"
    found: dict[str, Any] = {}
    problems = []
    for (dataset, pair, method), rows in _by_method(study.rows).items():
        miou = {
            factor: _mean([row for row in rows if split_factor(row.method)[1] == factor]) for factor in tune.factors
        }
        scored = {factor: mean for factor, mean in miou.items() if mean is not None}
        if not scored:
            problems.append(f"{dataset} {pair} {method}: every factor diverged; add smaller ones to tune.factors")
            continue
        factor = min(scored, key=lambda one: (-scored[one], max(one, 1 / one), one))
        values = trained_with(params, dataset, pair, with_factor(method, factor))
        found.setdefault(dataset, {}).setdefault(pair, {})[method] = {
            "factor": factor,
            **{key: value for key, value in values.items() if value is not None},
            "miou": {f"x{one:g}": mean for one, mean in miou.items()},
            **_spent(rows),
            "tune": tune.model_dump(mode="json"),
            "provenance": {"*": provenance},  # a mapping for each, or YAML would have aliases
        }
    if problems:
        raise ArtifactError(problems)
    return found


def write_weights(params: Params, grid: str, chosen: dict[str, Any]) -> Path:
    """Write params/tuned/GRID.yaml, and return its path."""
    path = params.folder / FOLDER / f"{grid}.yaml"
    text = yaml.safe_dump(chosen, sort_keys=False, default_flow_style=None, width=120)
    write_text(path, HEAD.format(grid=grid, sweep=SWEEP) + text)
    return path


def at_the_end(factor: float, tune: Tuning) -> bool:
    """Whether a factor is the smallest or the largest of a sweep, so that a better one may lie beyond."""
    return factor in (min(tune.factors), max(tune.factors))


def _check(params: Params, grid: str, study: Study) -> None:
    missing = [row for row in study.rows if row.status not in (FINISHED, DIVERGED)]
    run = f"snakemake --profile PROFILE --config grid={grid}{SWEEP} -- evaluations"
    if missing:
        more = f" ({missing[0].path}: {missing[0].message})"
        raise ArtifactError(
            f"grid {grid}{SWEEP}: {len(missing)} of {len(study.rows)} cells are not scored{more}; run `{run}`, or "
            f"`isoclock tune {grid} --profile PROFILE`, which does it"
        )
    for row in study.rows:
        now = student_values(params, Cell.parse(row.path))
        was = study.records[row.path].params
        if other := [key for key, value in now.items() if was.get(key) != value]:
            raise ArtifactError(f"{row.path}: trained with another {other[0]} than params/ has by now; run `{run}`")


def _by_method(rows: Sequence[CellRow]) -> dict[tuple[str, str, str], list[CellRow]]:
    """The rows of a sweep by (whole data set, pair, method without a factor)."""
    found: dict[tuple[str, str, str], list[CellRow]] = {}
    for row in rows:
        found.setdefault((whole_dataset(row.dataset), row.pair, split_factor(row.method)[0]), []).append(row)
    return found


def _mean(rows: Sequence[CellRow]) -> float | None:
    """Mean mIoU over seeds; None if one of them diverged."""
    known = [row.miou for row in rows if row.miou is not None]
    return sum(known) / len(known) if known and len(known) == len(rows) else None


def _spent(rows: Sequence[CellRow]) -> dict[str, Any]:
    """What all runs of a method spent. Where spent anchor-steps are unknown, the planned ones count."""
    steps = [row.planned_anchor_steps if row.spent_anchor_steps is None else row.spent_anchor_steps for row in rows]
    return {
        "runs": len(rows),
        "anchor_steps": round(sum(step or 0.0 for step in steps), 3),
        "train_s": round(sum(row.spent_s or 0.0 for row in rows), 3),
        "device_kind": "; ".join(sorted({row.device_kind for row in rows if row.device_kind})),
    }


def _digest(study: Study) -> str:
    """Digest of what was chosen from: weights and score of every run."""
    return sha256_json({row.path: [study.records[row.path].digests.weights, row.miou] for row in study.rows})
