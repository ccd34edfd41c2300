"""A trained teacher, and whether it may teach: finished, on these classes, with the weights that its record names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoclock.digests import Digests, short
from isoclock.errors import ArtifactError
from isoclock.grid.layout import TrainedFiles
from isoclock.models.trained import load_weights, new_segmenter
from isoclock.records.document import read
from isoclock.records.record import TeacherRecord

if TYPE_CHECKING:
    from isoclock.data.loading.prepared import PreparedData
    from isoclock.models.segmenter import Segmenter
    from isoclock.params.schema import Model


def trained_teacher(
    folder: Path, model: Model, data: PreparedData, values: Mapping[str, Any], kept: Digests
) -> Segmenter:
    """The teacher with its weights. `values` are those of `model`, with the digest of the weights it starts from.

    Raises ArtifactError if it diverged, was trained as another model or on other classes or data, or has other weights.
    """
    files, record = TrainedFiles(folder), _record(folder)
    again = f"train it again (isoclock teacher {folder.parent.name} {folder.name})"
    if record.status != "finished":
        raise ArtifactError(f"{files.record}: this teacher {record.status}: {record.message}")
    if record.params["classes"] != data.classes:
        raise ArtifactError(f"{folder}: this teacher was trained on another class list than {data.folder}; {again}")
    if record.cell.dataset == data.index.dataset and record.digests.data != data.digest:
        raise ArtifactError(
            f"{files.record}: this teacher was trained on other data than are in {data.folder} (index.json has SHA-256 "
            f"{short(data.digest)}, not {short(record.digests.data)}); {again}"
        )
    was = record.params.get("model", {})
    if other := sorted(key for key in was.keys() | values.keys() if was.get(key) != values.get(key)):
        raise ArtifactError(
            f"{files.record}: this teacher was trained with another {other[0]} ({was.get(other[0])!r}) than "
            f"params/models.yaml has ({values.get(other[0])!r}); {again}"
        )
    kept.check(
        files.weights, record.digests.weights, "the weights that record.json names", f"copy them back, or {again}"
    )
    teacher = new_segmenter(model, len(data.classes), initial=False)
    load_weights(teacher, files.weights, "teacher")
    return teacher


def weights_digest(folder: Path) -> str:
    """SHA-256 of a trained teacher's weights, as its record has it."""
    return _record(folder).digests.weights


def _record(folder: Path) -> TeacherRecord:
    return read(TrainedFiles(folder).record, TeacherRecord, f"teacher {folder.parent.name} {folder.name}")
