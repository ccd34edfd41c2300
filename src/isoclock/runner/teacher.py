"""A trained teacher, and whether it may teach: finished, on these classes, with the weights that its record names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isoclock.errors import ArtifactError
from isoclock.files import read_json, sha256_file
from isoclock.models.trained import load_weights, new_segmenter

if TYPE_CHECKING:
    from isoclock.data.loading.prepared import PreparedData
    from isoclock.models.segmenter import Segmenter
    from isoclock.params.schema import Model


def trained_teacher(folder: Path, model: Model, data: PreparedData) -> Segmenter:
    """The teacher with its weights. Raises ArtifactError if it diverged or was trained on other classes or data."""
    record = read_json(folder / "record.json", made_by="teacher")
    if record["status"] != "finished":
        raise ArtifactError(f"{folder / 'record.json'}: this teacher {record['status']}: {record['message']}")
    if record["params"]["classes"] != data.classes:
        raise ArtifactError(
            f"{folder}: this teacher was trained on another class list than {data.folder}; train it again"
        )
    if record["digests"]["weights"] != sha256_file(folder / "weights.safetensors"):
        raise ArtifactError(f"{folder / 'weights.safetensors'}: not the weights that record.json names; train it again")
    teacher = new_segmenter(model, len(data.classes), initial=False)
    load_weights(teacher, folder / "weights.safetensors", "teacher")
    return teacher


def weights_digest(folder: Path) -> str:
    """SHA-256 of a trained teacher's weights, as its record has it."""
    return str(read_json(folder / "record.json", made_by="teacher")["digests"]["weights"])
