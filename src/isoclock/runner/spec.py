"""What a run is before anything heavy is done, and the folder in which it lives."""

from __future__ import annotations

import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoclock.files import read_json, sha256_json, write_json
from isoclock.params.schema import Recipe
from isoclock.records.protocol import KEY, VERSION

SCHEMA = 1


@dataclass(frozen=True)
class Spec:
    """A run: what it trains, for how long, from what, and where it lives and ends up."""

    kind: str  # teacher | student
    cell: dict[str, Any]
    title: str
    run_folder: Path
    result_folder: Path
    recipe: Recipe
    iterations: int
    plan: dict[str, Any] | None
    params: dict[str, Any]  # resolved, as recorded
    digests: dict[str, Any]

    @property
    def inputs(self) -> str:
        """Digest of everything the run depends on: an unfinished run goes on only where this is the same."""
        return sha256_json([self.cell, self.iterations, self.params, self.digests])


def open_run(spec: Spec) -> dict[str, Any]:
    """The run's identity: that of a run with the same inputs, or a new one; what is in the way is set aside."""
    path = spec.run_folder / "run.json"
    if path.is_file():
        run: dict[str, Any] = read_json(path, made_by=spec.kind)
        if run["inputs"] == spec.inputs:
            return run
        set_aside(spec.run_folder, run["run_id"])
    run = {
        "schema": SCHEMA,
        KEY: VERSION,
        "run_id": uuid.uuid4().hex,
        "kind": spec.kind,
        "cell": spec.cell,
        "inputs": spec.inputs,
        "iterations": {"planned": spec.iterations},
        "plan": spec.plan,
        "params": spec.params,
        "digests": spec.digests,
        "started_unix": round(time.time(), 3),
    }
    write_json(path, run)
    return run


def set_aside(folder: Path, run_id: str) -> None:
    """Keep the trace of a run whose inputs changed (it may have cost hours), and drop its checkpoints."""
    aside = folder / "superseded" / run_id
    aside.mkdir(parents=True, exist_ok=True)
    for name in ("run.json", "ledger.jsonl"):
        if (folder / name).is_file():
            shutil.move(folder / name, aside / name)
    for path in folder.glob("checkpoint-*"):
        path.unlink()
