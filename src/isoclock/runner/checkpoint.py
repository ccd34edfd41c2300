"""Checkpoints that are either complete or ignored, and that never contain pickled code.

A checkpoint is `checkpoint-<iteration>.pt` with its SHA-256 in `checkpoint-<iteration>.json`; the JSON is written last, and
a checkpoint without it does not count. The two newest are kept: if one is damaged, the other is used.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from isoclock.errors import ArtifactError
from isoclock.files import read_json, sha256_file, write_json, written_atomically
from isoclock.os_failures import os_problem

KEPT = 2
_ANY = re.compile(r"\.?checkpoint-(\d{1,18})\.")
_WHOLE = re.compile(r"checkpoint-(\d{9,18})\.json")


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that is intact, and what was wrong with newer ones."""

    iteration: int
    state: dict[str, Any]
    complaints: list[str]


def save(folder: Path, iteration: int, state: dict[str, Any]) -> int:
    """Write the state at `iteration` atomically and drop all but the newest two. Returns the size in bytes.

    Checkpoints beyond `iteration` are dropped too: the run did not use them because they are damaged, and they would
    crowd out good ones. Raises UserError if it cannot be written; the checkpoints before are as they were.
    """
    path = _weights(folder, iteration)
    for leftover in _unfinished(folder):  # before writing: they take space
        leftover.unlink()
    try:
        with written_atomically(path) as temporary, temporary.open("wb") as stream:
            sink = _Hashing(stream)
            try:
                torch.save(state, cast(IO[bytes], sink))
            except RuntimeError as error:
                raise sink.error or error from None  # torch itself reports a file that ended too early
        write_json(path.with_suffix(".json"), {"iteration": iteration, "sha256": sink.digest.hexdigest()})
    except OSError as error:
        before = max((old for old in _iterations(folder) if old != iteration), default=None)
        kept = "there is no checkpoint yet" if before is None else f"the checkpoint of iteration {before} is intact"
        raise os_problem(error, f"then start again ({kept})") or error from None
    kept_iterations = [old for old in _iterations(folder) if old <= iteration][-KEPT:]
    for old in set(_iterations(folder)) - set(kept_iterations):
        _weights(folder, old).with_suffix(".json").unlink(missing_ok=True)
        _weights(folder, old).unlink(missing_ok=True)
    return path.stat().st_size


def load_newest(folder: Path, run_id: str | None = None) -> Loaded | None:
    """The newest good checkpoint, or None if there is none. Those that are damaged, unfinished or of another run than `run_id`
    (None for any run) are skipped and reported.

    Its tensors are on the host: a GPU would hold a second copy of the networks until they are restored.
    """
    complaints = [
        f"{path}: not finished when its process ended; an older checkpoint is used, or the run starts again"
        for path in _unfinished(folder)
    ]
    for iteration in reversed(_iterations(folder)):
        path = _weights(folder, iteration)
        try:
            about = read_json(path.with_suffix(".json"), made_by="student")
            if not isinstance(about, dict) or "sha256" not in about:
                raise ArtifactError(f"{path.with_suffix('.json')}: damaged (it has no SHA-256)")
            if sha256_file(path) != about["sha256"]:
                raise ArtifactError(f"{path}: damaged (its SHA-256 is not the recorded one)")
            state = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(state, dict):
                raise ArtifactError(f"{path}: damaged (it has no state)")
            if run_id is not None and (of := state["run"].get("run_id", run_id)) != run_id:
                raise ArtifactError(f"{path}: of another run ({of[:12]}, and this is run {run_id[:12]})")
            return Loaded(iteration, state, complaints)
        except ArtifactError as error:
            reason = str(error)
        except MemoryError:  # an older one would not fit either
            raise
        except Exception as error:  # torch, zipfile and pickle each raise their own
            reason = f"{path}: cannot be loaded ({_first_line(error)})"
        complaints.append(f"{reason}; an older checkpoint is used, or the run starts again")
    return Loaded(0, {}, complaints) if complaints else None


class _Hashing:
    """A file to write to that knows the SHA-256 of what went through it: nothing is held or read twice."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        try:
            return self._stream.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._stream.flush()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _weights(folder: Path, iteration: int) -> Path:
    return folder / f"checkpoint-{iteration:09d}.pt"


def _iterations(folder: Path) -> list[int]:
    return sorted(int(match[1]) for path in folder.glob("checkpoint-*.json") if (match := _WHOLE.fullmatch(path.name)))


def _unfinished(folder: Path) -> list[Path]:
    """What a process that died while it saved has left: half a file under a temporary name, or weights without digest.

    Only what is newer than the newest whole checkpoint: an older one was being dropped.
    """
    whole = max(_iterations(folder), default=-1)
    found = [path for pattern in (".checkpoint-*", "checkpoint-*.pt") for path in folder.glob(pattern)]
    return sorted(path for path in found if (match := _ANY.match(path.name)) and int(match[1]) > whole)
