"""How far a run had come when its process was killed: a file of one line, overwritten after every iteration.

The ledger has every twentieth iteration, of a pre-training too. What was trained since is lost with a kill, and this file
says how much that was. It costs one small write per iteration, waits for neither disk nor device, and what the kernel has
accepted outlives the process.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from isoclock.files import regular


class ProgressFile:
    """The progress file of a run folder. It is about the last segment that ran there."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "progress"
        self._stream: BinaryIO | None = None

    def read(self) -> tuple[int, float] | None:
        """Iterations done and seconds on the train clock; None where nothing (or half of it) is written."""
        try:
            iteration, train_s = regular(self.path).read_text(encoding="ascii").split()
            found = int(iteration), float(train_s)
        except (OSError, ValueError):
            return None
        return found if found[0] >= 0 and 0 <= found[1] < math.inf else None

    def write(self, iteration: int, train_s: float) -> None:
        """Overwrite the file. A full or failing disk is reported where something is saved, not here."""
        line = f"{iteration:12d} {truncated(train_s):18.4f}\n".encode("ascii")
        with suppress(OSError):
            if self._stream is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK  # to open a FIFO would wait for a reader
                self._stream = os.fdopen(os.open(self.path, flags, 0o644), "wb", buffering=0)
            os.pwrite(self._stream.fileno(), line, 0)

    def close(self) -> None:
        """Close the file until it is written again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def truncated(train_s: float) -> float:
    """Seconds as the ledger and this file have them: never more than a checkpoint has."""
    return math.floor(train_s * 1e4) / 1e4
