"""The result of one check of `isoclock doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was checked, its state, what was found, and what to change (empty if nothing).

    `wrong` prevents a study from running, `warn` may spoil its results, `none` could not be checked.
    """

    what: str
    state: Literal["ok", "warn", "wrong", "none"]
    found: str
    advice: str = ""
