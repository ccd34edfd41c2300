"""The last validation of a run, stored with its weights: `evaluate` uses it instead of scoring the same weights again.

It is used only if nothing could have changed it: the same weights, data, scoring code and options. Imports no torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from isoclock.data.packing.packed import INDEX, read_index
from isoclock.files import regular, sha256_file, sha256_json, written_atomically
from isoclock.grid.layout import TrainedFiles
from isoclock.grid.stamps import evaluate_stamp
from isoclock.params.load import Params
from isoclock.params.schema import Scoring
from isoclock.scoring.scores import Scores
from isoclock.scoring.target import Target

# Values of a recipe that scores depend on to the last bit.
_AS_TRAINED = ("precision", "matmul_precision", "channels_last", "threads", "colour")


def validation_inputs(params: Params, target: Target) -> str:
    """Digest of what scores depend on, apart from the weights: the split, `scoring`, code, data, and how images are computed.

    Raises ArtifactError if the data are not prepared.
    """
    read_index(target.data)
    recipe = target.recipe.model_dump(mode="json", include=set(_AS_TRAINED))
    return sha256_json(
        [evaluate_stamp(params, target.dataset, target.role), recipe, sha256_file(target.data / INDEX)],
    )


def keep_validation(folder: Path, scores: Scores, inputs: str, weights: str) -> None:
    """Write `scores` of the weights with the digest `weights` into a result folder, atomically."""
    about = {
        "inputs": inputs,
        "weights": weights,
        "evaluate_s": scores.evaluate_s,
        "nonfinite": scores.nonfinite,
        "scoring": scores.scoring.model_dump(mode="json"),
    }
    predictions = {f"prediction-{number}": predicted for number, predicted in scores.predictions.items()}
    arrays: dict[str, Any] = {"total": scores.total, "per_image": scores.per_image, **predictions}
    with written_atomically(TrainedFiles(folder).validation) as temporary:
        np.savez_compressed(temporary, names=np.array(scores.names, dtype=str), about=json.dumps(about), **arrays)


def kept_validation(target: Target, inputs: str) -> Scores | None:
    """The scores that training kept; None where there are none, or where weights, data or scoring are others by now.

    `Target.check` has compared the weights file with the record.
    """
    path, weights = TrainedFiles(target.trained).validation, target.record().digests.weights
    try:
        with np.load(regular(path), allow_pickle=False) as kept:
            about = json.loads(str(kept["about"]))
            if about["inputs"] != inputs or about["weights"] != weights:
                return None
            numbers = [int(name.removeprefix("prediction-")) for name in kept.files if name.startswith("prediction-")]
            return Scores(
                kept["total"],
                kept["per_image"],
                tuple(str(name) for name in kept["names"]),
                about["evaluate_s"],
                about["nonfinite"],
                {number: kept[f"prediction-{number}"] for number in numbers},
                Scoring.model_validate(about["scoring"]),
            )
    except (
        Exception
    ):  # missing or damaged, and NumPy, zipfile and zlib each raise their own: the images are scored again
        return None
