"""One training under two names: a compute budget of N iterations of a yardstick gives that yardstick N iterations.

So its cell there is its cell under the iteration budget of N. Whichever of them was published first is trained; the other
becomes a copy of its result, with a plan of its own.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from isoclock.files import read_json, sha256_file, write_json, written_atomically
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.records.protocol import VERSION, version_of
from isoclock.runner.lease import Lease
from isoclock.runner.spec import Spec, set_aside
from isoclock.scoring.last_validation import FILE as VALIDATION


def take_over(spec: Spec, others: Sequence[Cell], layout: Layout) -> str | None:
    """Publish `spec` from a published cell of `others` that is the same training. Returns its status; None if there is none.

    It is the same where planned iterations, params, data, teacher, code, device kind and version of torch are. The record names
    the cell that was trained under `trained_as`.
    """
    for other in others:
        folder = layout.student(other)
        path = folder / "record.json"
        if path.is_file() and _is_same(spec, record := read_json(path, made_by="student"), folder):
            _publish(spec, other, record, folder)
            return str(record["status"])
    return None


def _is_same(spec: Spec, record: dict[str, Any], folder: Path) -> bool:
    assert spec.plan is not None
    of_spec = {name: value for name, value in spec.digests.items() if name != "plan"}
    weights = folder / "weights.safetensors"
    return (
        "trained_as" not in record
        and version_of(record) == VERSION
        and record["iterations"]["planned"] == spec.iterations
        and record["params"] == spec.params
        and {name: record["digests"].get(name) for name in of_spec} == of_spec
        and record["hardware"]["device_kind"] == spec.plan["device_kind"]
        and all(segment.get("torch") == torch.__version__ for segment in record["segments"])
        and weights.is_file()
        and sha256_file(weights) == record["digests"]["weights"]
    )


def _publish(spec: Spec, other: Cell, record: dict[str, Any], folder: Path) -> None:
    """The record last, as in publishing. Equal bytes each time: the run's identity follows from that of the other."""
    if (spec.run_folder / "run.json").is_file():  # an unfinished training of its own, which nothing is to come of
        with Lease(spec.run_folder):
            set_aside(spec.run_folder, read_json(spec.run_folder / "run.json", made_by=spec.kind)["run_id"])
    for name in ("weights.safetensors", "ledger.jsonl", VALIDATION):
        if (folder / name).is_file():
            with written_atomically(spec.result_folder / name) as temporary:
                shutil.copyfile(folder / name, temporary)
        else:
            (spec.result_folder / name).unlink(missing_ok=True)
    cell = Cell(**spec.cell)
    own = {
        "cell": spec.cell,
        "plan": spec.plan,
        "digests": {**record["digests"], "plan": spec.digests["plan"]},
        "run_id": uuid.uuid5(uuid.UUID(record["run_id"]), cell.path).hex,
        "trained_as": other.path,
    }
    write_json(spec.result_folder / "record.json", record | own)
