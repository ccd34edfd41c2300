"""A trained teacher, and whether it may teach: finished, on these classes, with the weights that its record names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isoclock.errors import ArtifactError
from isoclock.files import sha256_file
from isoclock.grid.layout import TrainedFiles
from isoclock.models.trained import load_weights, new_segmenter
from isoclock.records.document import read
from isoclock.records.record import TeacherRecord

if TYPE_CHECKING:
    from isoclock.data.loading.prepared import PreparedData
    from isoclock.models.segmenter import Segmenter
    from isoclock.params.schema import Model


def trained_teacher(folder: Path, model: Model, data: PreparedData) -> Segmenter:
    """The teacher with its weights. Raises ArtifactError if it diverged or was trained on other classes or data."""
    files, record = TrainedFiles(folder), _record(folder)
    if record.status != "finished":
        raise ArtifactError(f"{files.record}: this teacher {record.status}: {record.message}")
    if record.params["classes"] != data.classes:
        raise ArtifactError(
            f"{folder}: this teacher was trained on another class list than {data.folder}; train it again"
        )
    if record.digests.weights != sha256_file(files.weights):
        raise ArtifactError(f"{files.weights}: not the weights that record.json names; train it again")
    teacher = new_segmenter(model, len(data.classes), initial=False)
    load_weights(teacher, files.weights, "teacher")
    return teacher


def weights_digest(folder: Path) -> str:
    """SHA-256 of a trained teacher's weights, as its record has it."""
    return _record(folder).digests.weights


def _record(folder: Path) -> TeacherRecord:
    return read(TrainedFiles(folder).record, TeacherRecord, f"teacher {folder.parent.name} {folder.name}")
