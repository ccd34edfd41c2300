"""SHA-256 of files that many processes compare, kept with what the file system says of each file, as in Git's index."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from isoclock.errors import ArtifactError, UserError
from isoclock.files import sha256_file, sha256_path, write_json

_TICK_NS = 2_000_000_000
"""The coarsest step in which a file system counts time (FAT); most count in milliseconds or less."""


class Digests:
    """Digests of files. A file is read once; while its size, times and inode stay the same, the kept digest is used.

    `folder` has one small file for each file that was read. A file that changed within two seconds before it was read is
    read again the next time: it could have changed once more without another time (Git calls this racy). Where `folder`
    cannot be written, every file is read each time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, path: Path, expected: str) -> str:
        """SHA-256 of a file, as hex. The kept one is used only if it is `expected`, so a damaged one causes no complaint.

        That of a folder (`sha256_path`) is not kept.
        Raises OSError if the file cannot be read, ArtifactError if it changes meanwhile.
        """
        if path.is_dir():
            return sha256_path(path)
        kept_in = self.folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
        state = _state(path)
        with suppress(OSError, ValueError, TypeError, KeyError):
            kept = json.loads(kept_in.read_bytes())
            was_old = max(state["mtime_ns"], state["ctime_ns"]) + _TICK_NS < kept["read_ns"]
            if was_old and kept["state"] == state and kept["sha256"] == expected:
                return expected
        read_ns = self._now_ns()
        digest = sha256_file(path)
        if _state(path) != state:
            raise ArtifactError(f"{path}: changed while it was read; start again when no process writes it")
        with suppress(OSError, UserError):
            write_json(kept_in, {"path": str(path), "state": state, "read_ns": read_ns, "sha256": digest})
        return digest

    def check(self, path: Path, expected: str, what: str, then: str) -> None:
        """Raise ArtifactError unless `path` has the digest `expected`. `what` is the file that it should be, `then` what to do."""
        try:
            found = self.of(path, expected)
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror}); {then}") from None
        if found != expected:
            raise ArtifactError(f"{path}: not {what} (its SHA-256 is {short(found)}, not {short(expected)}); {then}")

    def _now_ns(self) -> int:
        """The time now by the clock of the file system: that of a server may differ from ours. 0 if nothing can be written."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as probe:
                return os.fstat(probe.fileno()).st_mtime_ns
        return 0


def short(digest: str) -> str:
    """The start of a digest, for messages."""
    return digest[:12]


def _state(path: Path) -> dict[str, int]:
    # Not the device: a network file system has another number after each mount.
    found = path.stat()
    return {
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,  # a copy that keeps the time of the file (`cp -p`) has another one
        "inode": found.st_ino,
    }
