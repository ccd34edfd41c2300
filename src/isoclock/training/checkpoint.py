"""Checkpoints that are whole or not there, and that are never pickled code.

A checkpoint is `checkpoint-<iteration>.pt` with its SHA-256 in `checkpoint-<iteration>.json` beside it; the JSON is written
last, so that a checkpoint without it does not count. The two newest are kept: if one is damaged, the other serves.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from isoclock.artifacts import read_json, sha256_file, write_bytes, write_json
from isoclock.errors import ArtifactError

KEPT = 2


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that was found good, and what was wrong with newer ones."""

    iteration: int
    state: dict[str, Any]
    complaints: list[str]


def save(folder: Path, iteration: int, state: dict[str, Any]) -> int:
    """Write the state at `iteration` atomically and drop all but the newest two. Returns the size in bytes.

    What lies beyond `iteration` is dropped too: a run that stands here has passed it over as damaged, and it would
    crowd out good ones.
    """
    path = _weights(folder, iteration)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())
    write_json(path.with_suffix(".json"), {"iteration": iteration, "sha256": sha256_file(path)})
    kept = [old for old in _iterations(folder) if old <= iteration][-KEPT:]
    for old in set(_iterations(folder)) - set(kept):
        _weights(folder, old).with_suffix(".json").unlink(missing_ok=True)
        _weights(folder, old).unlink(missing_ok=True)
    return path.stat().st_size


def load_newest(folder: Path, device: torch.device) -> Loaded | None:
    """The newest good checkpoint, or None if there is none. Damaged ones are passed over, and said so."""
    complaints: list[str] = []
    for iteration in reversed(_iterations(folder)):
        path = _weights(folder, iteration)
        try:
            expected = read_json(path.with_suffix(".json"), made_by="student")["sha256"]
            if sha256_file(path) != expected:
                raise ArtifactError(f"{path}: damaged (its SHA-256 is not the one written down)")
            state = torch.load(path, map_location=device, weights_only=True)
        except (ArtifactError, OSError, KeyError, RuntimeError, UnpicklingError) as error:
            reason = (
                str(error) if isinstance(error, ArtifactError) else f"{path}: cannot be loaded ({_first_line(error)})"
            )
            complaints.append(f"{reason}; an older checkpoint is used, or the run starts again")
            continue
        return Loaded(iteration, state, complaints)
    return Loaded(0, {}, complaints) if complaints else None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _weights(folder: Path, iteration: int) -> Path:
    return folder / f"checkpoint-{iteration:09d}.pt"


def _iterations(folder: Path) -> list[int]:
    return sorted(int(path.stem.partition("-")[2]) for path in folder.glob("checkpoint-*.json"))
