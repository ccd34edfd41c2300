"""The version of PROTOCOL.md that this code follows.

Numbers of two versions are never in one table, and no verb builds on a document of another version. The version is part of
the stamps of what a rule depends on, so that Snakemake and DVC make such a result again; weights of teachers stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from isoclock.errors import ArtifactError

VERSION = 2
KEY = "protocol_version"  # `protocol` in a plan is what is held equal: iteration or compute
FIRST = 1  # documents of version 1 do not contain the key


class HasVersion(Protocol):
    """A document that was made under a version of the protocol."""

    @property
    def protocol_version(self) -> int:
        """The version; 1 for a document without the key."""


def check_version(path: Path, document: HasVersion, again: str) -> None:
    """Raise ArtifactError for a document of another version than this code's; `again` says how to make it again."""
    if document.protocol_version != VERSION:
        raise ArtifactError(
            f"{path}: made under version {document.protocol_version} of the protocol, and this is version {VERSION}; numbers of "
            f"two versions do not compare: {again}"
        )
