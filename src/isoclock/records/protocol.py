"""The version of PROTOCOL.md that this code follows, and how documents carry it.

Numbers of two versions never stand in one table, and no verb builds on another verb's document of another version. The version
is in the stamps of what a rule is about, so that Snakemake and DVC make it again; weights of teachers stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoclock.errors import ArtifactError

VERSION = 2
KEY = "protocol_version"  # `protocol` in a plan is what is held equal: iteration or compute
FIRST = 1  # documents of version 1 do not say it


def version_of(document: Mapping[str, Any]) -> int:
    """The protocol version that a profile, budget, plan, run record or scores were made under."""
    return int(document.get(KEY, FIRST))


def check_version(path: Path, document: Mapping[str, Any], again: str) -> None:
    """Raise ArtifactError, saying what makes it `again`, for a document of another version than this code's."""
    found = version_of(document)
    if found != VERSION:
        raise ArtifactError(
            f"{path}: made under version {found} of the protocol, and this is version {VERSION}; numbers of two versions do "
            f"not compare: {again}"
        )
