"""Files of a report that DVC reads: metrics, the params of the cells, and curves. `dvc.yaml` names them."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from isoclock.files import write_json, write_text
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.report.collect import FINISHED, CellRow, Study
from isoclock.runner.ledger import events, valid_events

POINTS = 200  # of a curve, at most


def write_dvc_files(study: Study, folder: Path) -> None:
    """Write metrics.json, params.json, miou.csv and loss.csv into `folder`.

    Metrics are means over the finished seeds, without marks and intervals, which the tables have. IoUs lie in 0..1.
    """
    write_json(folder / "metrics.json", _metrics(study))
    write_json(folder / "params.json", _params(study))
    write_text(folder / "miou.csv", _curves(study, "evaluate", "miou"))
    write_text(folder / "loss.csv", _curves(study, "train", "loss"))


def _metrics(study: Study) -> dict[str, Any]:
    """Finished cells; mIoU of the teacher, cost of each method, mIoU and seconds by method and budget. By pair, if several."""
    finished = sum(row.status == FINISHED for row in study.rows)
    found: dict[str, Any] = {"cells": {"finished": finished, "all": len(study.rows)}}
    for dataset, pair in study.pairs:
        of_pair: dict[str, Any] = defaultdict(dict)
        teacher = study.teachers.get((dataset, pair))
        if teacher is not None and teacher.scores.miou is not None:
            of_pair["teacher"]["miou"] = teacher.scores.miou
        groups: dict[tuple[str, str], list[CellRow]] = defaultdict(list)
        for row in study.of_pair(dataset, pair):
            groups[row.method, row.budget].append(row)
        for (method, budget), rows in groups.items():
            if rows[0].cost_ratio is not None:
                of_pair[method]["cost_ratio"] = rows[0].cost_ratio
            for name in ("miou", "spent_s"):
                known = [getattr(row, name) for row in rows if row.status == FINISHED]
                if known:
                    of_pair[method].setdefault(budget, {})[name] = fmean(known)
        found |= {f"{dataset}/{pair}": dict(of_pair)} if len(study.pairs) > 1 else of_pair
    return found


def _params(study: Study) -> dict[str, Any]:
    """What the cells were trained with: recipes by data set, methods, and iterations by budget and method."""
    found: dict[str, Any] = {"recipes": {}, "methods": {}, "iterations": {}}
    for record in study.records.values():
        cell = record.cell
        found["recipes"].setdefault(cell.dataset, record.params["recipe"])
        found["methods"].setdefault(cell.method, record.params.get("method", {}))
        found["iterations"].setdefault(cell.budget, {})[cell.method] = record.iterations.planned
    return found


def _curves(study: Study, kind: str, name: str) -> str:
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(("cell", "method", "budget", "iteration", "train_s", name))
    for path, record in study.records.items():
        cell, every = Cell.parse(path), max(1, -(-record.iterations.planned // POINTS))
        ledger = Layout(study.results).student_files(cell).ledger
        for iteration, train_s, value in _points(ledger, kind, name, every):
            table.writerow(
                (f"{cell.method} {cell.budget} {cell.seed}", cell.method, cell.budget, iteration, train_s, value)
            )
    return stream.getvalue()


def _points(ledger: Path, kind: str, name: str, every: int) -> Iterator[tuple[int, float, float]]:
    """Iteration, seconds on the train clock and value of the first event of a kind in each `every` iterations."""
    train_s, place = 0.0, -1
    for event in valid_events(events(ledger, every=every)):
        train_s = event.get("train_s", train_s)
        value = event.get(name)
        if event["event"] == kind and isinstance(value, int | float) and event["iteration"] // every != place:
            place = event["iteration"] // every
            yield event["iteration"], train_s, value
