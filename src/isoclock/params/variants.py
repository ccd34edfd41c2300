"""Names that are derived from an entry's name, in grids, cells and results.

`mgd.x2` is entry `mgd` with the weights of its own terms times 2; `none.x2` is `none` with the learning rate times 2.
`streets.held-out-0.2-seed-0` is data set `streets` without a fifth of its training images, and scored on these.
A name for which nothing is derived is returned as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FACTOR = re.compile(r"(.+)\.x(\d+(?:\.\d+)?)")
_HELD_OUT = re.compile(r"(.+)\.held-out-(0\.\d+)-seed-(0|[1-9]\d{0,18})")


@dataclass(frozen=True)
class HeldOut:
    """A part of the training images that is scored: its `share` (0..1), and the `seed` that selects it."""

    share: float
    seed: int


def is_exact(number: float) -> bool:
    """Whether a name can hold a number: at most six digits, and no exponent."""
    return "e" not in f"{number:g}" and float(f"{number:g}") == number


def with_factor(method: str, factor: float) -> str:
    """Name of a method with its weights times `factor`; `method` itself for 1."""
    return method if factor == 1 else f"{method}.x{factor:g}"


def split_factor(method: str) -> tuple[str, float]:
    """(Name without its factor, the factor): `mgd.x2` -> ("mgd", 2.0), `mgd` -> ("mgd", 1.0)."""
    found = _FACTOR.fullmatch(method)
    if found is None or with_factor(found[1], float(found[2])) != method or not float(found[2]):
        return method, 1.0
    return found[1], float(found[2])


def without_factor(method: str) -> str:
    """Name of a method without its factor. Costs are those of this name: they do not depend on the size of a weight."""
    return split_factor(method)[0]


def the_one(methods: list[str], wanted: str) -> str | None:
    """The name of `wanted` in a grid: itself, or the only name that is `wanted` with a factor; None if there is none."""
    if wanted in methods:
        return wanted
    found = [method for method in methods if without_factor(method) == wanted]
    return found[0] if len(found) == 1 else None


def with_held_out(dataset: str, held_out: HeldOut) -> str:
    """Name of a data set a part of whose training images is held out."""
    return f"{dataset}.held-out-{held_out.share:g}-seed-{held_out.seed}"


def split_held_out(dataset: str) -> tuple[str, HeldOut | None]:
    """(Name of the whole data set, what is held out of its training images, or None)."""
    from isoclock.schema import MAX_SEED  # here, so that paths can be named without pydantic

    found = _HELD_OUT.fullmatch(dataset)
    if found is None or not 0 < (share := float(found[2])) < 1 or int(found[3]) > MAX_SEED:
        return dataset, None
    held_out = HeldOut(share, int(found[3]))
    return (found[1], held_out) if with_held_out(found[1], held_out) == dataset else (dataset, None)


def whole_dataset(dataset: str) -> str:
    """Name of a data set without what is held out."""
    return split_held_out(dataset)[0]


def is_derived(name: str) -> bool:
    """Whether a name has a form that is reserved for derived names, so that no entry may have it."""
    return _FACTOR.fullmatch(name) is not None or _HELD_OUT.fullmatch(name) is not None
