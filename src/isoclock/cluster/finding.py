"""One thing that `isoclock doctor` looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it stands, what was found, and what to change (empty where nothing has to be).

    `wrong` stops a study, `warn` may spoil it, `none` could not be looked at.
    """

    what: str
    state: Literal["ok", "warn", "wrong", "none"]
    found: str
    advice: str = ""
