"""What all entries of params/ share: the provenance of each value.

Keys of `provenance` are value names (dotted for nested ones, `*` for the rest); its values start with `published:` (and name
the source), `published, scaled:` (and name the formula, too), `assumed` or `ours`; those that `isoclock tune` writes start with
`tuned:` (and name the grid and a digest).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

_PROVENANCE = re.compile(r"^(published(, scaled)?: \S.*|tuned: \S.*|assumed(: \S.*)?|ours(: \S.*)?)$", re.DOTALL)


class Entry(BaseModel):
    """A named entry of a params file. Unknown keys are errors, and every value needs a provenance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provenance: dict[str, str]

    @model_validator(mode="after")
    def _every_value_has_provenance(self) -> Entry:
        for key, text in self.provenance.items():
            if not _PROVENANCE.match(text):
                raise ValueError(
                    f"provenance of {key} is {text!r}; must start with 'published: <source>',"
                    " 'published, scaled: <formula>', 'assumed' or 'ours'"
                )
        given = self.model_dump(exclude={"provenance"}, exclude_unset=True)
        values = list(_leaves(given))
        for value in values:
            if "*" not in self.provenance and self.provenance.keys().isdisjoint(_groups(value)):
                raise ValueError(f"{value} has no provenance; add it under provenance, or add '*'")
        known = {group for value in values for group in _groups(value)} | {"*"}
        for key in self.provenance:
            if key not in known:
                raise ValueError(f"provenance has {key}, which the entry does not have")
        return self


def _groups(value: str) -> Iterator[str]:
    """`a.b.c` -> `a`, `a.b`, `a.b.c`: the keys of a provenance that cover it."""
    for end in (found.start() for found in re.finditer(r"\.", value)):
        yield value[:end]
    yield value


def _leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and (value or not path):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path
