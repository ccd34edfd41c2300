"""What a run is before anything heavy is done, and its live folder."""

from __future__ import annotations

import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoclock.files import sha256_json
from isoclock.grid.layout import RunFiles
from isoclock.params.schema import Recipe
from isoclock.records.document import build, plain, read_if_there, write
from isoclock.records.plan import Plan
from isoclock.records.run import Run, StudentRun, TeacherRun

RUNS: dict[str, type[Run]] = {"student": StudentRun, "teacher": TeacherRun}


@dataclass(frozen=True)
class Spec:
    """A run: what it trains, for how long, from what, and its live folder and result folder."""

    kind: str  # teacher | student
    cell: dict[str, Any]
    title: str
    run_folder: Path
    result_folder: Path
    recipe: Recipe
    iterations: int
    plan: Plan | None
    params: dict[str, Any]  # resolved, as recorded
    digests: dict[str, Any]

    @property
    def inputs(self) -> str:
        """Digest of everything the run depends on: an unfinished run continues only where this is the same."""
        return sha256_json([self.cell, self.iterations, self.params, self.digests])


def open_run(spec: Spec) -> Run:
    """The unfinished run with the same inputs, or a new one. A run with other inputs is set aside.

    Raises ArtifactError if run.json is damaged.
    """
    path = RunFiles(spec.run_folder).run
    if (run := read_if_there(path, RUNS[spec.kind], made_by=spec.kind)) is not None:
        if run.inputs == spec.inputs:
            return run
        set_aside(spec.run_folder, run.run_id)
    content = {
        "run_id": uuid.uuid4().hex,
        "kind": spec.kind,
        "cell": spec.cell,
        "inputs": spec.inputs,
        "iterations": {"planned": spec.iterations},
        "plan": None if spec.plan is None else plain(spec.plan),
        "params": spec.params,
        "digests": spec.digests,
        "started_unix": round(time.time(), 3),
    }
    run = build(RUNS[spec.kind], content)
    write(path, run)
    return run


def set_aside(folder: Path, run_id: str) -> None:
    """Keep run.json and the ledger of a run whose inputs changed (it may have cost hours), and drop its checkpoints.

    run.json is moved last: after an interruption, the next start sets the rest aside too.
    """
    for path in folder.glob("checkpoint-*"):
        path.unlink()
    aside = folder / "superseded" / run_id
    aside.mkdir(parents=True, exist_ok=True)
    for path in (RunFiles(folder).ledger, RunFiles(folder).run):
        if path.is_file():
            shutil.move(path, aside / path.name)
