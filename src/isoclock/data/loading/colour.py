"""Colour transforms: a list of albumentations transforms from params/training.yaml.

The list ends in Normalize, which is computed on the training device (`normalise.py`). albumentations takes seconds to
import, so it is imported only if other transforms are listed.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoclock.data.loading.augment import COLOUR, generator
from isoclock.data.loading.pixels import Pixels
from isoclock.errors import ParamsError

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Colour:
    """Colour augmentation of uint8 images, and the constants of their normalisation.

    A value v of a channel becomes (v - `shift`) * `factor`, both (3,) float32; `fill` is the colour of padding, which
    becomes about zero.
    """

    def __init__(self, normalise: Mapping[str, Any], augment: Any | None = None) -> None:
        mean = np.array(normalise.get("mean", _IMAGENET_MEAN), np.float32)
        std = np.array(normalise.get("std", _IMAGENET_STD), np.float32)
        top = np.float32(normalise.get("max_pixel_value", 255.0))
        # The same arithmetic as in albumentations.
        self.shift: NDArray[np.float32] = mean * top
        self.factor: NDArray[np.float32] = np.reciprocal(std * top)
        red, green, blue = (int(value) for value in np.clip(np.rint(self.shift), 0, 255))
        self.fill = red, green, blue
        self._augment = augment

    def augment(self, image: Pixels, seed: int, number: int) -> Pixels:
        """Apply the colour transforms to sample `number` of a run; a function of (seed, number)."""
        if self._augment is None:
            return image
        self._augment.set_random_seed(int(generator(seed, COLOUR, number).integers(1 << 31)))
        return np.asarray(self._augment(image=image)["image"], np.uint8)


def build_colour(transforms: Sequence[Mapping[str, Any]]) -> Colour:
    """Build colour transforms from entries {"transform": name, **arguments}; the last one is Normalize.

    A name without a dot is a class of albumentations; a dotted name is imported. Raises ParamsError that lists every entry
    that is unknown, has wrong arguments, or moves pixels (`augment` does geometry, where labels are transformed too).
    """
    names = [str(entry.get("transform", "")).removeprefix("albumentations.") for entry in transforms]
    if not names or names[-1] != "Normalize" or "Normalize" in names[:-1]:
        raise ParamsError(f"colour: the list must end in Normalize, and have it only once; this is {names}")
    problems = _wrong_normalise(transforms[-1])
    if len(names) == 1:
        if problems:
            raise ParamsError(problems)
        return Colour(transforms[-1])
    # Without this, albumentations looks up its newest version on the network when imported.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    built = []
    for name, entry in zip(names[:-1], transforms[:-1], strict=True):
        arguments = {key: value for key, value in entry.items() if key != "transform"}
        try:
            found = _imported(name) if "." in name else getattr(albumentations, name)
            transform = found(**arguments)
        except (AttributeError, ImportError):
            problems.append(f"colour: unknown transform {name!r}; use a class of albumentations or a module path")
            continue
        except (TypeError, ValueError) as error:
            problems.append(f"colour: {name} does not accept {arguments}: {' '.join(str(error).split())}")
            continue
        if not isinstance(transform, albumentations.ImageOnlyTransform):
            problems.append(f"colour: {name} moves pixels, but labels would not move; list only colour transforms")
        built.append(transform)
    if problems:
        raise ParamsError(problems)
    return Colour(transforms[-1], albumentations.Compose(built))


def _wrong_normalise(entry: Mapping[str, Any]) -> list[str]:
    known = {"transform", "mean", "std", "max_pixel_value"}
    problems = [
        f"colour: Normalize has no argument {key!r}; choose from mean, std, max_pixel_value"
        for key in entry.keys() - known
    ]
    for key in ("mean", "std"):
        if key in entry and np.shape(entry[key]) != (3,):
            problems.append(f"colour: Normalize: {key} must be three numbers (RGB, 0..1), not {entry[key]!r}")
    return problems


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
