"""A run folder has one writer. The right to write is a lock of the kernel's, and a note that says who has it.

The lock ends with its process, however that ends. Where locks do not reach from one machine to the next, the note decides:
its holder touches it every few seconds, and one that has been silent for too long has lost it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from isoclock.errors import UserError
from isoclock.grid.layout import RunFiles

HEARTBEAT_S = 5.0
SILENT_S = 90.0  # clients of a network file system may see times that are a minute old
LOOK_EVERY_S = 0.2
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class Lease:
    """Exclusive right to write a run folder, held as a context manager.

    A lease of a dead process, or of one on another host that has been silent for SILENT_S, is taken over, and `taken_over` says
    so in one line. Raises UserError on entry when another live process holds it, naming that process and its host.
    """

    def __init__(self, folder: Path) -> None:
        self.path = RunFiles(folder).lease
        self.taken_over: str | None = None
        self._ended = threading.Event()
        self._stream: TextIO

    def __enter__(self) -> Lease:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while not self._acquire():
            pass
        self._ended.clear()
        threading.Thread(target=self._renew, name="lease", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._stream.truncate(0)
        self._stream.close()

    def check(self) -> None:
        """Raise UserError if another process has taken this lease over (this one was silent for too long).

        Call it before anything is written: the folder is the other process's by then.
        """
        # By its status only: to open and close the file again would end the lock, which is the process's, not the stream's.
        if not _same_file(self._stream, self.path):
            raise UserError(
                f"{self.path.parent}: this process was silent for too long and another one has taken the run over; "
                f"nothing more is written here"
            )

    def _acquire(self) -> bool:
        """Take the lease. False if it changed hands meanwhile: look again."""
        stream = self.path.open("a+", encoding="utf-8")
        try:
            locked = _lock(stream)
            if not _same_file(stream, self.path):
                stream.close()
                return False
            note = _read(stream)
            if locked and not note:
                self._stream = stream
                _write(stream)
                return True
            self.taken_over = f"{self.path}: {self._why_stale(stream, note, locked)}; taken over"
            # A new file, not a new text in the old one: so the old holder, should it wake, sees that it has lost.
            self._stream = _replacement(self.path)
        except BaseException:
            stream.close()
            raise
        stream.close()
        if _same_file(self._stream, self.path):
            return True
        self._stream.close()
        return False

    def _why_stale(self, stream: TextIO, note: dict[str, Any], locked: bool) -> str:
        """Why the holder does not count any more. Raises UserError if it does."""
        who = f"process {note.get('pid')} on {note.get('host')}"
        if not note:
            raise self._held("it is just starting")
        if all(note.get(key) == value for key, value in _place().items()):
            if not locked or _started(note["pid"]) == note.get("pid_started"):
                raise self._held(_described(note))
            return f"{who} is dead"
        silent_s = _silence(stream)
        if silent_s < SILENT_S:
            raise self._held(_described(note))
        return f"{who} was silent for {silent_s:.0f} s"

    def _held(self, holder: str) -> UserError:
        return UserError(
            f"{self.path.parent}: another process is writing this run ({holder}); wait for it, or stop it first"
        )

    def _renew(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            try:
                os.utime(self._stream.fileno())
            except (OSError, ValueError):  # a full or failing disk is reported where something is saved
                continue


def _lock(stream: TextIO) -> bool:
    """Lock without waiting; False if another process has it. Where there are no locks, the note has to do."""
    try:
        # Not `flock`: loader processes would inherit that, and hold it for seconds after a kill of this process.
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _NO_LOCKS_HERE
    return True


def _replacement(path: Path) -> TextIO:
    """A new lease file, locked and filled in, in the place of the old one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".lease.")
    stream = os.fdopen(handle, "w+", encoding="utf-8")
    try:
        _lock(stream)
        _write(stream)
        Path(name).replace(path)
    except BaseException:
        stream.close()
        Path(name).unlink(missing_ok=True)
        raise
    return stream


def _write(stream: TextIO) -> None:
    stream.truncate(0)
    written = {"pid": os.getpid(), "pid_started": _started(os.getpid()), "since_unix": round(time.time())}
    json.dump(written | _place(), stream)
    stream.flush()


def _read(stream: TextIO) -> dict[str, Any]:
    stream.seek(0)
    try:
        note = json.loads(stream.read() or "{}")
    except json.JSONDecodeError:  # its writer was killed while it wrote
        return {}
    return note if isinstance(note, dict) else {}


def _described(note: dict[str, Any]) -> str:
    return json.dumps({key: note.get(key) for key in ("pid", "host", "since_unix")})


def _silence(stream: TextIO) -> float:
    """Seconds since the holder last renewed its lease; watches until it does (then 0) or SILENT_S are over.

    The file system's own clock is asked, because clocks of hosts differ; what is seen while watching is timed by this host's.
    """
    last_ns = os.fstat(stream.fileno()).st_mtime_ns
    with tempfile.NamedTemporaryFile(dir=Path(stream.name).parent, prefix=".lease.") as probe:
        silent_s = (os.fstat(probe.fileno()).st_mtime_ns - last_ns) / 1e9
    began = time.monotonic()
    while silent_s < SILENT_S:
        time.sleep(LOOK_EVERY_S)
        if os.fstat(stream.fileno()).st_mtime_ns != last_ns:
            return 0.0
        silent_s = max(silent_s, time.monotonic() - began)
    return silent_s


def _same_file(stream: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _place() -> dict[str, str]:
    """Where a process number means something: the host, since it was booted, in this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return {"host": socket.gethostname(), "boot": boot, "pids": str(Path("/proc/self/ns/pid").readlink())}
    except OSError:
        return {"host": socket.gethostname(), "boot": "", "pids": ""}


def _started(pid: int) -> str | None:
    """When the process started, in the kernel's count; None if there is none, or it is dead and not yet collected."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]
