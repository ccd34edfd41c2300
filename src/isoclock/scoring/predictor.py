"""Label maps and overlays of photographs, with a trained or an exported network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from isoclock.data.formats import image_size, kind_problem
from isoclock.data.loading.normalise import Normalise
from isoclock.data.loading.pixels import decode_rgb
from isoclock.data.packing.packed import read_index
from isoclock.data.packing.verify import MAX_PIXELS
from isoclock.errors import ArtifactError, DataError, UserError
from isoclock.files import regular, sha256_file, to_json, written_atomically
from isoclock.labels import IGNORE
from isoclock.models.segmenter import Segmenter
from isoclock.params.schema import Model, Recipe
from isoclock.records.document import read
from isoclock.records.exported import ExportedModel
from isoclock.scoring.export import DOCUMENT, WEIGHTS
from isoclock.scoring.overlays import colour_labels
from isoclock.scoring.predict import predict, trained_network
from isoclock.scoring.target import Target

_SUFFIXES = (".png", ".jpg", ".jpeg")
_HEAD_BYTES = 1 << 16

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Predictor:
    """A network that predicts photographs as its recipe scores images."""

    name: str
    network: Segmenter
    recipe: Recipe
    classes: Sequence[str]
    palette: Sequence[Sequence[int]]
    resize: tuple[int, int] | None
    device: torch.device

    @classmethod
    def of_target(cls, target: Target, device: torch.device) -> Predictor:
        """A trained student or teacher, after `Target.check`."""
        index = read_index(target.data)
        network = trained_network(target.model, target.recipe, len(index.classes), target.weights, target.role, device)
        return cls(target.name, network, target.recipe, index.classes, index.palette, index.resize, device)

    @classmethod
    def of_export(cls, folder: Path, device: torch.device) -> Predictor:
        """What `isoclock export` wrote. Raises ArtifactError if its files are not those that it wrote."""
        exported, weights = read(folder / DOCUMENT, ExportedModel, "export"), folder / WEIGHTS
        if not weights.is_file() or sha256_file(weights) != exported.weights_sha256:
            raise ArtifactError(f"{weights}: not the weights of {DOCUMENT}; copy them back, or export again")
        recipe = Recipe.model_validate_json(to_json(exported.recipe))
        own = {"*": "ours"}  # where the values come from plays no role here
        entry = {
            "architecture": exported.architecture,
            "params": exported.params,
            "weights": "random",
            "provenance": own,
        }
        model = Model.model_validate(entry)
        network = trained_network(model, recipe, len(exported.classes), weights, "export", device)
        return cls(exported.name, network, recipe, exported.classes, exported.palette, exported.resize, device)

    def labels(self, photo: Pixels, name: str) -> Pixels:
        """Classes (H, W) uint8 of an RGB photograph (H, W, 3). Raises UserError if the outputs are not finite."""
        seen = photo
        if self.resize is not None and photo.shape[:2] != self.resize:  # as `isoclock prepare` resizes
            smaller = self.resize[0] <= photo.shape[0] and self.resize[1] <= photo.shape[1]
            how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            seen = np.asarray(cv2.resize(photo, self.resize[::-1], interpolation=how), np.uint8)
        image = torch.from_numpy(np.array(seen)).permute(2, 0, 1)[None]
        unlabelled = np.full(photo.shape[:2], IGNORE, np.uint8)
        found = predict(
            self.network,
            [(image, unlabelled, name)],
            num_classes=len(self.classes),
            scoring=self.recipe.scoring,
            precision=self.recipe.precision,
            channels_last=self.recipe.channels_last,
            device=self.device,
            normalise=Normalise.last_of(self.recipe.colour),
            keep=(0,),
        )
        if found.nonfinite:
            raise UserError(f"{name}: the outputs of {self.name} are not finite; choose a network that did not diverge")
        return found.predictions[0]


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The PNG and JPEG files among `paths` and in the folders among them.

    Raises DataError for a path that is not there, a folder without images, and two files of one name.
    """
    problems, found = [], []
    for path in paths:
        inside = sorted(one for one in path.rglob("*") if one.suffix.lower() in _SUFFIXES) if path.is_dir() else [path]
        if not inside:
            problems.append(f"{path}: no PNG or JPEG file in this folder; give the images")
        problems += [
            f"{one}: no such file; give PNG or JPEG files, or a folder of them" for one in inside if not one.exists()
        ]
        found += inside
    twice = [name for name, number in Counter(path.stem for path in found).items() if number > 1]
    problems += [f"{name}: two images have this name; predict them in two calls with different --out" for name in twice]
    if problems:
        raise DataError(problems)
    return found


def write_predictions(predictor: Predictor, images: Sequence[Path], out: Path) -> Iterator[Path]:
    """Write NAME.png (classes as grey values) and NAME.overlay.png for each image; yields the paths of the label maps.

    Raises DataError for a file that is no PNG or JPEG image, and for a result that would replace its image.
    """
    for path in images:
        labels, overlay = out / f"{path.stem}.png", out / f"{path.stem}.overlay.png"
        if labels.absolute() == path.absolute():
            raise DataError(f"{path}: its label map would replace it; choose another folder with --out")
        photo = _photo(path)
        found = predictor.labels(photo, str(path))
        coloured = colour_labels(found, predictor.palette)
        blended = ((photo.astype(np.uint16) + coloured) // 2).astype(np.uint8)
        for target, pixels in ((overlay, blended), (labels, found)):
            with written_atomically(target) as temporary:
                Image.fromarray(pixels).save(temporary)
        yield labels


def _photo(path: Path) -> Pixels:
    content = regular(path).read_bytes()
    if problem := kind_problem(content):
        raise DataError(f"{path}: {problem}")
    size = image_size(content[:_HEAD_BYTES])
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise DataError(f"{path}: {size[1]} x {size[0]} pixels, more than {MAX_PIXELS}; make it smaller")
    if (photo := decode_rgb(content)) is None:
        raise DataError(f"{path}: cannot be decoded; save it again as PNG or JPEG")
    return photo
