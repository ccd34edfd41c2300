"""A trained network as a folder of its own: safetensors, ONNX, what predicting needs, and a model card."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from isoclock.data.loading.colour import build_colour
from isoclock.data.loading.prepared import PreparedData
from isoclock.digests import Digests
from isoclock.errors import ArtifactError, UserError
from isoclock.files import sha256_file, write_text
from isoclock.grid.layout import ScoreFiles
from isoclock.models.trained import load_weights, new_segmenter
from isoclock.records.document import build, plain, read, write
from isoclock.records.exported import ExportedModel
from isoclock.records.results import scores_problem
from isoclock.records.scores import ScoreDocument
from isoclock.scoring.model_card import model_card
from isoclock.scoring.onnx_file import Portable, check_packages, compare, write_onnx
from isoclock.scoring.overlays import spread_over
from isoclock.scoring.target import Target

WEIGHTS, ONNX, DOCUMENT, CARD = "model.safetensors", "model.onnx", "model.json", "README.md"
COMPARED = 4  # images, at most


def export(target: Target, out: Path, kept: Digests) -> ExportedModel:
    """Write a scored network into the folder `out`, and return its model.json.

    model.onnx takes one image of the size of the prepared validation images; its logits are compared with those of torch on
    some of them. An export that is there is replaced when the new one is complete. Raises UserError for a run that diverged or
    is not scored, for a network that ONNX cannot express or computes differently, and for a folder with something else.
    """
    check_packages()
    if out.exists() and not (out / DOCUMENT).is_file():
        raise UserError(f"{out}: is there, and is no exported network; remove it, or choose another folder with --out")
    target.check(kept)
    record = target.record()
    if record.status == "diverged":
        raise UserError(f"{target.name}: its training diverged, so there is no network to export; choose another")
    scores = read(ScoreFiles(target.scores).scores, ScoreDocument, f"evaluate {target.name}")
    if problem := scores_problem(record, scores):
        raise ArtifactError(f"{target.name}: {problem}; run `isoclock evaluate {target.name}`")
    data, recipe = PreparedData.open(target.data), target.recipe
    images = _images(data)
    network = new_segmenter(target.model, len(data.classes), initial=False)
    load_weights(network, target.weights, target.role)
    portable = Portable(network, build_colour(recipe.colour[-1:]))
    with _replacing(out) as folder:
        shutil.copyfile(target.weights, folder / WEIGHTS)
        write_onnx(portable, images[0], folder / ONNX)
        content = {
            "name": target.name,
            "dataset": target.dataset,
            "architecture": target.model.architecture,
            "params": target.model.params,
            "classes": data.classes,
            "palette": data.index.palette,
            "resize": data.index.resize,
            "recipe": recipe.model_dump(mode="json"),
            "onnx_size": list(images[0].shape[2:]),
            "weights_sha256": record.digests.weights,
            "onnx_sha256": sha256_file(folder / ONNX),
            "compared": plain(compare(portable, folder / ONNX, images)),
        }
        exported = build(ExportedModel, content)
        write(folder / DOCUMENT, exported)
        write_text(folder / CARD, model_card(exported, record, scores, target.model.weights))
    return exported


def _images(data: PreparedData) -> list[Tensor]:
    """Some validation images, (1, 3, H, W) float32 in 0..255, at the size of the first."""
    val = data.split("val")
    numbers = spread_over(len(val), COMPARED)
    pixels = [torch.from_numpy(val.image(number).copy()).permute(2, 0, 1)[None].float() for number in numbers]
    size = pixels[0].shape[2:]
    return [
        image.contiguous() if image.shape[2:] == size else functional.interpolate(image, size, mode="bilinear")
        for image in pixels
    ]


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Yield a new folder, which becomes `folder` at the end, in place of the one that is there; after an error it is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        made = Path(temporary) / "new"
        made.mkdir()
        yield made
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        made.rename(folder)
