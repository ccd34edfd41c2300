"""Compare the classes of a checkpoint with those of a data set, by name. No torch here."""

from __future__ import annotations

import re
from collections.abc import Sequence

from isoclock.errors import ArtifactError

_SHOWN = 3
_SAME = {
    "television receiver": "television"
}  # ADE20K: the first synonym in objectInfo150.txt, and mmsegmentation's name


def class_order(theirs: Sequence[str], ours: Sequence[str], source: str) -> list[int]:
    """For each of our classes, its position in the checkpoint; `source` names the checkpoint in errors.

    Upper case, surrounding space, and `-` or `_` in place of a space do not count. A name may list synonyms ("windowpane,
    window"): one that is equal is enough. Raises ArtifactError if the numbers differ, or if a class has no counterpart or
    several; it names the first ones.
    """
    if len(theirs) != len(ours):
        raise ArtifactError(
            f"{source}: has {len(theirs)} classes, and the data set has {len(ours)}; give a checkpoint of this data set"
        )
    known = [_synonyms(name) for name in theirs]
    order = [_place(_synonyms(name), known) for name in ours]
    unmatched = [name for name, place in zip(ours, order, strict=True) if place is None]
    if not unmatched and len(set(order)) == len(ours):
        return [place for place in order if place is not None]
    left = [name for place, name in enumerate(theirs) if place not in order]
    raise ArtifactError(
        f"{source}: its class names differ from the data set's: {_some(unmatched)} of the data set have no counterpart among "
        f"{_some(left)} of the checkpoint; give a checkpoint of this data set, or correct the names in its config.json"
    )


def _place(names: list[str], known: list[list[str]]) -> int | None:
    """Where a class is among the known: equal lists first, then equal first names, then the only one with a name in common."""
    for fits in (
        [place for place, theirs in enumerate(known) if theirs == names],
        [place for place, theirs in enumerate(known) if theirs[:1] == names[:1]],
        [place for place, theirs in enumerate(known) if set(theirs) & set(names)],
    ):
        if fits:
            return fits[0] if len(fits) == 1 else None
    return None


def _synonyms(name: str) -> list[str]:
    plain = (re.sub(r"[\s_-]+", " ", part).strip().casefold() for part in re.split(r"[,;]", name))
    return [_SAME.get(part, part) for part in plain if part]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN]) or "(none)"
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
