"""What a run is before anything heavy is done, and its live folder."""

from __future__ import annotations

import re
import shutil
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoclock.errors import ArtifactError
from isoclock.files import sha256_json
from isoclock.grid.layout import RunFiles
from isoclock.params.schema import Recipe
from isoclock.records.document import build, plain, read_if_there, write
from isoclock.records.plan import Plan
from isoclock.records.run import Run, StudentRun, TeacherRun
from isoclock.runner.ledger import events

RUNS: dict[str, type[Run]] = {"student": StudentRun, "teacher": TeacherRun}
_HEX = re.compile("[0-9a-f]{32}([0-9a-f]{32})?")


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


def open_run(spec: Spec) -> tuple[Run, list[str]]:
    """The unfinished run with the same inputs, or a new one, and complaints. A run with other inputs is set aside.

    Where run.json is damaged or missing, the ledger says which run it was: it is continued if its inputs are the same.
    """
    folder, path = spec.run_folder, RunFiles(spec.run_folder).run
    run = _read(spec)
    complaints: list[str] = []
    if run is not None and run.inputs == spec.inputs:
        return run, complaints
    known = _logged(folder)
    if run is None and known.get("inputs") == spec.inputs:
        complaints.append(f"{path}: damaged or missing; written again from the ledger, and the run continues")
    elif run is not None or known or any(folder.glob("checkpoint-*")):
        known, aside = {}, set_aside(spec)
        if run is None:
            complaints.append(
                f"{path}: damaged or missing, and the ledger names no inputs, or others; the run starts again, and what "
                f"there was is in {aside}"
            )
    content = {
        "run_id": known.get("run_id") or uuid.uuid4().hex,
        "kind": spec.kind,
        "cell": spec.cell,
        "inputs": spec.inputs,
        "iterations": {"planned": spec.iterations},
        "plan": None if spec.plan is None else plain(spec.plan),
        "params": spec.params,
        "digests": spec.digests,
        "started_unix": known.get("started_unix") or round(time.time(), 3),
    }
    new = build(RUNS[spec.kind], content)
    write(path, new)
    return new, complaints


def set_aside(spec: Spec) -> Path:
    """Keep run.json and the ledger of a run whose inputs changed (it may have cost hours), and drop its checkpoints.

    Returns the folder that they are moved to. run.json is moved last: after an interruption, the next start sets the rest
    aside too.
    """
    folder, run = spec.run_folder, _read(spec)
    for path in folder.glob("checkpoint-*"):
        path.unlink()
    aside = folder / "superseded" / (uuid.uuid4().hex if run is None else run.run_id)
    aside.mkdir(parents=True, exist_ok=True)
    for path in (RunFiles(folder).ledger, RunFiles(folder).run):
        if path.is_file():
            shutil.move(path, aside / path.name)
    return aside


def _read(spec: Spec) -> Run | None:
    """The run that run.json describes; None where it is damaged or missing. Raises ArtifactError where it cannot be read."""
    try:
        return read_if_there(RunFiles(spec.run_folder).run, RUNS[spec.kind], made_by=spec.kind)
    except ArtifactError as error:
        if isinstance(error.__context__, OSError):  # a permission, or a file system that fails for now
            raise
        return None


def _logged(folder: Path) -> dict[str, Any]:
    """What the ledger says of its run: `run_id`, `inputs`, `started_unix`. Empty if no run was started there."""
    starts = [event for event in events(RunFiles(folder).ledger, every=sys.maxsize) if event["event"] == "start"]
    if not starts:
        return {}
    digests = {key: str(starts[-1].get(key)) for key in ("run_id", "inputs")}
    return {"started_unix": starts[0]["unix"]} | {
        key: digest for key, digest in digests.items() if _HEX.fullmatch(digest)
    }
