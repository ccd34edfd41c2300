"""Colour transforms: a list from params/training.yaml, of PhotoMetricDistortion (`photometric.py`) and of albumentations.

The list ends in Normalize, which is computed on the training device (`normalise.py`). albumentations takes seconds to
import, so it is imported only if transforms of it are listed.
"""

from __future__ import annotations

import importlib
import inspect
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoclock.data.loading.photometric import PhotoMetricDistortion
from isoclock.errors import ParamsError
from isoclock.hints import choices

if TYPE_CHECKING:
    from isoclock.data.loading.pixels import Pixels

    Step = Callable[[Pixels, np.random.Generator], Pixels]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_OWN = PhotoMetricDistortion.__name__
_TRIED = (192, 256, 3)  # shape of the image that each transform is tried on


class Colour:
    """Colour augmentation of uint8 images, and the constants of their normalisation.

    A value v of a channel becomes (v - `shift`) * `factor`, both (3,) float32; `fill` is the colour of padding, which
    becomes about zero.
    """

    def __init__(self, normalise: Mapping[str, Any], steps: Sequence[Step] = ()) -> None:
        mean = np.array(normalise.get("mean", _IMAGENET_MEAN), np.float32)
        std = np.array(normalise.get("std", _IMAGENET_STD), np.float32)
        top = np.float32(normalise.get("max_pixel_value", 255.0))
        # The same arithmetic as in albumentations.
        self.shift: NDArray[np.float32] = mean * top
        self.factor: NDArray[np.float32] = np.reciprocal(std * top)
        red, green, blue = (int(value) for value in np.clip(np.rint(self.shift), 0, 255))
        self.fill = red, green, blue
        self._steps = tuple(steps)

    def augment(self, image: Pixels, seed: int, number: int) -> Pixels:
        """Apply the colour transforms to sample `number` of a run; a function of (seed, number)."""
        if not self._steps:
            return image
        from isoclock.data.loading.augment import (  # imports OpenCV, which `isoclock check` does without
            COLOUR,
            generator,
        )

        random = generator(seed, COLOUR, number)
        for step in self._steps:
            image = step(image, random)
        return image


class _Albumentations:
    """Transforms of albumentations one after another, with a seed that is drawn."""

    def __init__(self, transforms: Sequence[Any]) -> None:
        import albumentations

        self._apply = albumentations.Compose(transforms)

    def __call__(self, image: Pixels, random: np.random.Generator) -> Pixels:
        self._apply.set_random_seed(int(random.integers(1 << 31)))
        return np.asarray(self._apply(image=np.ascontiguousarray(image))["image"], np.uint8)


def build_colour(transforms: Sequence[Mapping[str, Any]]) -> Colour:
    """Build colour transforms from entries {"transform": name, **arguments}; the last one is Normalize.

    PhotoMetricDistortion is that of `photometric.py`. Another name without a dot is a class of albumentations; a dotted name
    is imported, and each of these transforms is tried on one image.
    Raises ParamsError that lists every entry that is unknown, has wrong arguments, moves pixels (`augment` does geometry,
    where labels are transformed too), or returns anything but a uint8 image of the same shape.
    """
    names = [str(entry.get("transform", "")).removeprefix("albumentations.") for entry in transforms]
    if not names or names[-1] != "Normalize" or "Normalize" in names[:-1]:
        raise ParamsError(f"colour: the list must end in Normalize, and have it only once; this is {names}")
    problems = _wrong_normalise(transforms[-1])
    if len(names) == 1:
        if problems:
            raise ParamsError(problems)
        return Colour(transforms[-1])
    steps: list[Step] = []
    others: list[Any] = []  # of albumentations, one after another
    for number, (name, entry) in enumerate(zip(names[:-1], transforms[:-1], strict=True)):
        arguments = {key: value for key, value in entry.items() if key != "transform"}
        try:
            if not name:
                raise ParamsError(f"colour[{number}]: has no transform; name a class of albumentations")
            if name == _OWN:
                own = _made(name, PhotoMetricDistortion, arguments)
                steps += [_Albumentations(others), own] if others else [own]
                others = []
            else:
                others.append(_tried(name, arguments))
        except ParamsError as error:
            problems += error.problems
    if problems:
        raise ParamsError(problems)
    return Colour(transforms[-1], [*steps, _Albumentations(others)] if others else steps)


def _tried(name: str, arguments: Mapping[str, Any]) -> Any:
    """A transform of albumentations, or one that is imported. Raises ParamsError if it does not do."""
    # Without this, albumentations looks up its newest version on the network when imported.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    found = _found(name, albumentations)
    _try(name, _made(name, found, arguments), albumentations)
    return _made(name, found, arguments)  # another one, since a transform may remember what it has seen


def _found(name: str, albumentations: Any) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module) if module else albumentations, attribute)
    except (AttributeError, ImportError):
        raise ParamsError(
            f"colour: unknown transform {name!r}; use a class of albumentations or a module path"
        ) from None
    except Exception as error:
        raise ParamsError(f"colour: {name} cannot be imported ({_in_one_line(error)})") from error


def _made(name: str, found: Any, arguments: Mapping[str, Any]) -> Any:
    """A transform. Raises ParamsError for arguments that it refuses, or that it would warn about and ignore."""
    try:
        known = inspect.signature(found).parameters
        anything = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
        unknown = [] if anything else sorted(set(arguments) - set(known))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            transform = None if unknown else found(**arguments)
    except ParamsError:
        raise
    except Exception as error:
        raise ParamsError(f"colour: {name} does not accept {dict(arguments)}: {_in_one_line(error)}") from None
    if unknown:
        raise ParamsError(f"colour: {name} has no argument {unknown[0]!r}; {choices(unknown[0], known)}")
    if complaints := [warning.message for warning in said if warning.category is UserWarning]:
        raise ParamsError(f"colour: {name} does not accept {dict(arguments)}: {_in_one_line(complaints[0])}")
    return transform


def _try(name: str, transform: Any, albumentations: Any) -> None:
    """Run a transform on one image. Raises ParamsError if it does not return a uint8 image of the same shape."""
    if isinstance(transform, albumentations.DualTransform):
        raise ParamsError(f"colour: {name} moves pixels, but labels would not move; list only colour transforms")
    if not isinstance(transform, albumentations.ImageOnlyTransform):
        raise ParamsError(f"colour: {name} is no ImageOnlyTransform of albumentations; list only colour transforms")
    image = np.random.Generator(np.random.PCG64(0)).integers(0, 256, _TRIED, dtype=np.uint8)
    try:
        made = transform(image=image, force_apply=True)["image"]
    except Exception as error:
        raise ParamsError(f"colour: {name} fails on an image of {_shown(image)}: {_in_one_line(error)}") from error
    if not isinstance(made, np.ndarray) or (made.dtype, made.shape) != (np.uint8, _TRIED):
        raise ParamsError(f"colour: {name} makes {_shown(made)} of {_shown(image)}; must keep shape and type")


def _shown(image: object) -> str:
    return f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"


def _in_one_line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _wrong_normalise(entry: Mapping[str, Any]) -> list[str]:
    known = {"transform", "mean", "std", "max_pixel_value"}
    problems = [
        f"colour: Normalize has no argument {key!r}; choose from mean, std, max_pixel_value"
        for key in sorted(entry.keys() - known)
    ]
    for key in ("mean", "std"):
        if key in entry and not (np.shape(entry[key]) == (3,) and all(map(_is_number, entry[key]))):
            problems.append(f"colour: Normalize: {key} must be three numbers (RGB, 0..1), not {entry[key]!r}")
        elif key == "std" and min(entry.get(key, _IMAGENET_STD)) <= 0:
            problems.append(f"colour: Normalize: std must be above 0, not {entry[key]!r}")
    if not _is_number(top := entry.get("max_pixel_value", 255.0)) or top <= 0:
        problems.append(f"colour: Normalize: max_pixel_value must be a number above 0, not {top!r}")
    return problems


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
