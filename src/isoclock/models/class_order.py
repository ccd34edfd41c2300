"""Compare the classes of a checkpoint with those of a data set, by name. No torch here."""

from __future__ import annotations

import re
from collections.abc import Sequence

from isoclock.errors import ArtifactError

_SHOWN = 3


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
    found = [[place for place, names in enumerate(known) if names & _synonyms(name)] for name in ours]
    # A name that is equal as a whole comes before a shared synonym.
    whole = {_plain(name): place for place, name in enumerate(theirs)}
    order = [
        whole.get(_plain(name), places[0] if len(places) == 1 else None)
        for name, places in zip(ours, found, strict=True)
    ]
    unmatched = [name for name, place in zip(ours, order, strict=True) if place is None]
    if not unmatched and len(set(order)) == len(ours):
        return [place for place in order if place is not None]
    left = [name for place, name in enumerate(theirs) if place not in order]
    raise ArtifactError(
        f"{source}: its class names differ from the data set's: {_some(unmatched)} of the data set have no counterpart among "
        f"{_some(left)} of the checkpoint; give a checkpoint of this data set, or correct the names in its config.json"
    )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _synonyms(name: str) -> set[str]:
    return {_plain(part) for part in re.split(r"[,;]", name) if part.strip()}


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN]) or "(none)"
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
