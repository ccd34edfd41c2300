"""Build the segmenter of an entry in params/models.yaml, and load weights that were trained here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file

from isoclock.errors import ArtifactError
from isoclock.models.build import build_segmenter

if TYPE_CHECKING:
    from isoclock.models.segmenter import Segmenter
    from isoclock.params.schema import Model


def new_segmenter(model: Model, num_classes: int, *, initial: bool = True) -> Segmenter:
    """A segmenter; without `initial` it waits for trained weights and reads none to start from."""
    weights = model.weights if initial else None
    return build_segmenter(model.architecture, num_classes, weights=weights, **model.params)


def load_weights(segmenter: Segmenter, path: Path, made_by: str) -> None:
    """Load safetensors weights. Raises ArtifactError if the file is missing, unreadable or does not fit."""
    if not path.is_file():  # nor a FIFO
        raise ArtifactError(f"{path}: no such file; `isoclock {made_by}` writes it")
    try:
        segmenter.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ArtifactError(
            f"{path}: cannot be loaded ({reason}); remove it and run `isoclock {made_by}` again"
        ) from None
