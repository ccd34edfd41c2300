"""Random mistakes in text files, as editors, merges and damaged disks make them."""

from __future__ import annotations

import os
import random
from typing import Any

MUTATIONS = 1200 if os.environ.get("ISOCLOCK_SLOW") == "1" else 120
"""Number of mutated files of a kind: of params/, of documents."""

PIECES = [
    "null", "-1", "1.0e+400", "[]", "{}", "!!int x", "2001-13-45", "0x1F", "&a", "*a", "'", '"', ":", "  ", "\n", "\t",
    "- ", "? ", "|", "<<: *a", "..", "$(touch X)", "\x1b", "\u202e", "9" * 30, "true", "0.5", "a" * 300, "1:30", "#", "%",
    "@", "`", "!", "yes", ".nan", ".inf", "[" * 200, "{a: {b: {c: 1}}}", '"x"', "7", "2.5", "NaN", "1e999", ",", "\\u0000",
]  # fmt: skip


def mutated(text: str, draw: random.Random) -> str:
    """`text` with one to three mistakes: a piece inserted or as a value, characters or a line removed, a line twice."""
    for _ in range(draw.randint(1, 3)):
        at, lines = draw.randrange(len(text) + 1), text.split("\n")
        line = draw.randrange(len(lines))
        key, end = lines[line].partition(":")[0], "," * lines[line].endswith(",")
        text = draw.choice([
            text[:at] + draw.choice(PIECES) + text[at:],
            text[:at] + text[at + draw.randint(1, 9) :],
            "\n".join([*lines[:line], *lines[line + 1 :]]),
            "\n".join([*lines[:line], f"{key}: {draw.choice(PIECES)}{end}", *lines[line + 1 :]]),
            "\n".join([*lines[:line], draw.choice(lines), *lines[line:]]),
        ])  # fmt: skip
    return text


def has(found: Any, written: Any) -> bool:
    """Whether `found` has every value that a file has: of the same kind, but an integer may have become a float."""
    if isinstance(written, dict):
        return isinstance(found, dict) and all(key in found and has(found[key], written[key]) for key in written)
    if isinstance(written, list):
        return len(found) == len(written) and all(map(has, found, written))
    if isinstance(written, bool) or isinstance(found, bool):
        return found is written
    if isinstance(written, int) and isinstance(found, float):
        return found == written
    return type(found) is type(written) and bool(found == written)
