"""A run folder has one writer: the process that has its lease."""

from __future__ import annotations

from pathlib import Path

from isoclock.grid.layout import RunFiles
from isoclock.locks import Lock


class Lease(Lock):
    """Exclusive right to write the run folder `folder`; a lock, which `isoclock.locks` describes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(RunFiles(folder).lease, folder, "writing this run")
