"""Colour transforms: a list of albumentations transforms that users exchange in params/training.yaml.

The list ends in Normalize. That one is done here, on the training's device (`data/normalise.py`); the package, whose import
takes seconds, is imported only if something else is listed.
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
    """Colour augmentation of uint8 images, and what they are normalised with.

    A value v of a channel becomes (v - `shift`) * `factor`, both (3,) float32; `fill` is the colour of padding, which
    normalises to about zero.
    """

    def __init__(self, normalise: Mapping[str, Any], augment: Any | None = None) -> None:
        mean = np.array(normalise.get("mean", _IMAGENET_MEAN), np.float32)
        std = np.array(normalise.get("std", _IMAGENET_STD), np.float32)
        top = np.float32(normalise.get("max_pixel_value", 255.0))
        # The arithmetic by which albumentations makes its table.
        self.shift: NDArray[np.float32] = mean * top
        self.factor: NDArray[np.float32] = np.reciprocal(std * top)
        red, green, blue = (int(value) for value in np.clip(np.rint(self.shift), 0, 255))
        self.fill = red, green, blue
        self._augment = augment

    def augment(self, image: Pixels, seed: int, number: int) -> Pixels:
        """The colour transforms of sample `number` of a run, a function of (seed, number)."""
        if self._augment is None:
            return image
        self._augment.set_random_seed(int(generator(seed, COLOUR, number).integers(1 << 31)))
        return np.asarray(self._augment(image=image)["image"], np.uint8)


def build_colour(transforms: Sequence[Mapping[str, Any]]) -> Colour:
    """Build colour transforms from entries {"transform": name, **arguments}, of which the last is Normalize.

    A name without a dot is albumentations'; a dotted one is imported. Raises ParamsError that lists every entry that is
    unknown, has wrong arguments, or moves pixels (geometry belongs to `augment`, where labels follow).
    """
    names = [str(entry.get("transform", "")).removeprefix("albumentations.") for entry in transforms]
    if not names or names[-1] != "Normalize" or "Normalize" in names[:-1]:
        raise ParamsError(f"colour: the list must end in its one Normalize, this is {names}")
    problems = _wrong_normalise(transforms[-1])
    if len(names) == 1:
        if problems:
            raise ParamsError(problems)
        return Colour(transforms[-1])
    # albumentations asks the network for its newest version when imported, unless told not to.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    built = []
    for name, entry in zip(names[:-1], transforms[:-1], strict=True):
        arguments = {key: value for key, value in entry.items() if key != "transform"}
        try:
            found = _imported(name) if "." in name else getattr(albumentations, name)
            transform = found(**arguments)
        except (AttributeError, ImportError):
            problems.append(f"colour: there is no transform {name!r}; see albumentations, or give a module's path")
            continue
        except (TypeError, ValueError) as error:
            problems.append(f"colour: {name} refuses {arguments}: {' '.join(str(error).split())}")
            continue
        if not isinstance(transform, albumentations.ImageOnlyTransform):
            problems.append(f"colour: {name} moves pixels, and labels would not follow; list colour transforms only")
        built.append(transform)
    if problems:
        raise ParamsError(problems)
    return Colour(transforms[-1], albumentations.Compose(built))


def _wrong_normalise(entry: Mapping[str, Any]) -> list[str]:
    known = {"transform", "mean", "std", "max_pixel_value"}
    problems = [
        f"colour: Normalize has no argument {key!r}; it takes mean, std, max_pixel_value"
        for key in entry.keys() - known
    ]
    for key in ("mean", "std"):
        if key in entry and np.shape(entry[key]) != (3,):
            problems.append(f"colour: Normalize's {key} must be three numbers (RGB, 0..1), this is {entry[key]!r}")
    return problems


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
