"""What messages add so that a mistake is easy to correct: names that exist, and how to write a number."""

from __future__ import annotations

import re
from collections.abc import Iterable

FEW = 12
SIMILAR = 3
_POWER = re.compile(r"([-+]?\d+)(\.\d*)?[eE]([-+]?)(\d+)")  # such as 5e-4, which is text in YAML 1.1


def choices(name: object, known: Iterable[object]) -> str:
    """The end of a message about an unknown `name`: `choose from a, b`, or `did you mean 'a' or 'b'?` for a name of many."""
    names = list(dict.fromkeys(map(str, known)))
    if len(names) <= FEW:
        return f"choose from {', '.join(names) or '(it has none)'}"
    if close := similar(str(name), names):
        *others, last = map(repr, close)
        return f"did you mean {', '.join(others)}{' or ' if others else ''}{last}?"
    return f"choose from {', '.join(names[:SIMILAR])} and {len(names) - SIMILAR} more"


def similar(name: str, known: Iterable[str]) -> list[str]:
    """The most similar names, at most three, best first; capital letters count as small ones."""
    from difflib import get_close_matches  # here: only mistakes need it

    spelled = {one.lower(): one for one in reversed(list(known))}
    return [spelled[one] for one in get_close_matches(name.lower(), spelled, SIMILAR)]


def number_hint(value: object) -> str:
    """How to write a number such as `5e-4` in YAML, which reads it as text; empty for everything else."""
    found = _POWER.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return ""
    digits, point, sign, power = found.groups()
    point = point if point and point != "." else ".0"
    return f"; YAML reads {value} as text: write {digits}{point}e{sign or '+'}{power}"
