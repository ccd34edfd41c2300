"""A run folder has one writer. The lease is a lock of the kernel's: it ends with the process, however that ends."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType

from isoclock.errors import UserError


class Lease:
    """Exclusive right to write a run folder, held as a context manager.

    Raises UserError on entry when another live process holds it, naming that process and its host.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lease.json"

    def __enter__(self) -> Lease:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self.path.open("a+", encoding="utf-8")
        try:
            # Not `flock`: loader processes would inherit that, and hold it for seconds after a kill of this process.
            fcntl.lockf(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._stream.seek(0)
            holder = self._stream.read().strip() or "unknown"
            self._stream.close()
            raise UserError(
                f"{self.path.parent}: another process is writing this run ({holder}); wait for it, or stop it first"
            ) from None
        self._stream.truncate(0)
        json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since_unix": round(time.time())}, self._stream)
        self._stream.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.truncate(0)
        self._stream.close()
