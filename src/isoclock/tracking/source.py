"""One run as MLflow should show it, independent of the files it was read from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoclock.files import sha256_file, sha256_json
from isoclock.tracking.steps import StepMetric, is_number

_MIRROR_VERSION = 2  # increase it when the shown content of a record changes: every run is then updated once


@dataclass
class RunSource:
    """One run as MLflow should show it. `status` is MLflow's; `tags["status"]` is ours.

    `key` identifies a part of the study (for instance a cell's path), `run_id` one training of it. `digest` changes with
    any field below it.
    """

    key: str
    run_id: str
    kind: str
    dataset: str
    name: str
    status: str
    started_ms: int
    ended_ms: int
    digest: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    steps: list[StepMetric] = field(default_factory=list)
    finals: dict[str, float] = field(default_factory=dict)
    final_iteration: int = 0
    files: list[tuple[Path, str]] = field(default_factory=list)  # (file, folder among the artifacts)
    per_class_iou: dict[str, float | None] = field(default_factory=dict)
    weights: tuple[Path, str] | None = None  # (file, sha256)
    digests: dict[str, str] = field(default_factory=dict)  # SHA-256 of what the run depends on and made
    network: dict[str, Any] = field(default_factory=dict)  # what the weights are of: model and classes
    folder: str = ""  # of its files, relative to the study


def sealed(source: RunSource, live: bool) -> RunSource:
    """Set the digest of everything that would be written."""
    parts: list[Any] = [_MIRROR_VERSION, source.status, source.tags, source.params, source.finals, source.per_class_iou]
    parts += [source.digests, source.network, source.folder]
    parts += [[len(source.steps), source.steps[-1].iteration if source.steps else -1]]
    if not live:
        parts += [source.weights[1] if source.weights else None]
        # Overlays by size only: they are drawn from weights and scores, whose digests are included.
        parts += [
            [path.name, path.stat().st_size if path.suffix == ".png" else sha256_file(path)] for path, _ in source.files
        ]
    source.digest = sha256_json(parts)
    return source


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested params as one level of dotted names; lists become JSON, empty groups are left out."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flattened(value, f"{prefix}{name}.")
        elif value is not None:
            flat[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def texts(**values: Any) -> dict[str, str]:
    """Values as strings, as tags need; None is left out."""
    return {name: str(value) for name, value in values.items() if value is not None}


def add_numbers(source: RunSource, group: str, **values: Any) -> None:
    """Add final metrics `group/name`, except missing or non-finite values. MLflow shows those without a group first."""
    prefix = f"{group}/" if group else ""
    source.finals |= {f"{prefix}{name}": float(value) for name, value in values.items() if is_number(value)}
