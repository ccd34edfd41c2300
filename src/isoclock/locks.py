"""Locks between processes and hosts. No other module locks anything.

A lock is a folder that contains the file of its owner. It needs no lock of the kernel's: Lustre without `flock` and NFS
without a lock service have none, and others (Lustre with `localflock`, BeeGFS by default) only lock within one host.

- Taking it: a process creates a folder of another name, with its file in it, and renames it to the lock. A rename replaces
  no folder that has a file in it, so only one of several processes succeeds.
- Ending it: the file of the owner is removed, and the folder is empty, which counts as free. The name of that file is
  random and never used again. Therefore a process that removes the file of a dead owner cannot remove that of the next
  owner, even if it is late.
- A live owner touches its file every HEARTBEAT_S. An owner is dead if its process number says so, where that can be seen,
  or if its file has not changed for SILENT_S on the clock of the process that looks. Clocks of hosts are not compared.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from isoclock.errors import UserError, one_line

HEARTBEAT_S = 5.0
SILENT_S = 90.0  # clients of a network file system may see times that are a minute old
LOOK_EVERY_S = 0.1
_SAY_SO_AFTER_S = 2 * HEARTBEAT_S
_GONE = (errno.ENOENT, errno.ESTALE)


class LockHeld(UserError):
    """Another live process has the lock."""


class Lock:
    """Exclusive right to do something, held as a context manager; `folder` is the lock.

    Messages begin with `subject`, and say that another process is `doing` ("packing it"). `taken_over` says in one line
    which dead owner had the lock before, if any. Raises LockHeld on entry, with process and host of the owner, if the lock is
    not free within `wait_s` seconds (or if it takes as long as SILENT_S to see whether the owner lives), and UserError if the
    file system refuses.
    """

    def __init__(self, folder: Path, subject: str | Path, doing: str, wait_s: float = 0.0) -> None:
        self.folder = folder
        self.taken_over: str | None = None
        self._subject, self._doing, self._wait_s = subject, doing, wait_s
        self._file: Path
        self._ended: threading.Event

    def __enter__(self) -> Self:
        deadline = time.monotonic() + self._wait_s
        try:
            while not self._take():
                try:
                    self._remove_dead()
                except LockHeld:
                    if time.monotonic() >= deadline:
                        raise
                    time.sleep(LOOK_EVERY_S)
        except OSError as error:
            raise UserError(
                f"{self.folder}: cannot be locked ({error.strerror}); correct that, or use a file system on which folders "
                f"can be written and renamed"
            ) from None
        self._ended = threading.Event()
        threading.Thread(target=_renew, args=(self._file, self._ended), name="lock", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        with suppress(OSError):
            self._file.unlink()
            self.folder.rmdir()

    def check(self) -> None:
        """Raise UserError if the lock was lost: another process has taken it over, because this one was silent for too long.

        Call it before anything is written.
        """
        try:
            os.utime(self._file)  # not `stat`, which a network file system may answer from a cache
        except OSError as error:
            if error.errno in _GONE:
                raise UserError(
                    f"{self._subject}: this process was silent for too long and another one has taken over (or {self.folder} "
                    f"was removed); nothing more is written here"
                ) from None

    def _take(self) -> bool:
        """Take the lock if it is free."""
        if _owners(self.folder):
            return False
        name = uuid.uuid4().hex
        own = self.folder.with_name(f".{self.folder.name}.{name}")
        own.mkdir(parents=True)
        self._file = self.folder / f"{name}.json"
        try:
            (own / self._file.name).write_text(json.dumps(_this_process()), encoding="utf-8")
            with suppress(OSError):
                self.folder.rmdir()  # not every file system replaces an empty folder in a rename
            own.rename(self.folder)
        except OSError:
            # A server may have renamed it and then answered a repeated request with an error.
            if self._file.exists():
                return True
            if not _owners(self.folder):
                raise
            return False
        finally:
            shutil.rmtree(own, ignore_errors=True)
        return True

    def _remove_dead(self) -> None:
        """Remove the file of the owner. Raises LockHeld if the owner lives."""
        for file in _owners(self.folder):
            try:
                why = self._why_dead(file)
                file.unlink()
                self.taken_over = f"{self.folder}: {why}; taken over"
            except OSError as error:
                if error.errno not in (*_GONE, errno.EBUSY):  # busy: removed, and still open in a process of this host
                    raise

    def _why_dead(self, file: Path) -> str:
        """Why the owner does not count any more. Raises LockHeld if it lives, and OSError if its file is removed meanwhile."""
        note = _read(file)
        who = f"process {note['pid']} on {note.get('host')}" if "pid" in note else file.name
        lives, why = _lives(note), "is dead"
        if lives is None:
            lives, why = self._changes(file, who), f"was silent for {SILENT_S:.0f} s"
        if lives:
            owner = json.dumps({key: note.get(key) for key in ("pid", "host", "since_unix")})
            raise LockHeld(
                f"{self._subject}: another process is {self._doing} ({owner}); wait for it, or stop it first"
            )
        return f"{who} {why}"

    def _changes(self, file: Path, who: str) -> bool:
        """Watch the owner's file until it changes, or SILENT_S are over. Raises OSError if it is removed."""
        first, began = _time_ns(file), time.monotonic()
        said = False
        while (silent_s := time.monotonic() - began) < SILENT_S:
            looked = time.monotonic()
            if not said and silent_s > _SAY_SO_AFTER_S:
                said = True
                wait = f"{who} has the lock; waiting up to {SILENT_S:.0f} s to see whether it lives"
                print(one_line(f"isoclock: {self.folder}: {wait}"), file=sys.stderr, flush=True)
            time.sleep(LOOK_EVERY_S)
            if _time_ns(file) != first:
                return True
            if time.monotonic() - looked > HEARTBEAT_S:  # the file system stood still, perhaps for the owner too
                began = time.monotonic()
        return False


def owner_of(folder: Path) -> str | None:
    """The process that has the lock `folder`, such as `process 12 on node1`; None if it is free or its owner is dead.

    It does not wait: an owner that cannot be seen from here counts as alive if its file changed within SILENT_S on the clock
    of this host. Use it to show something, never to decide who may write.
    """
    for file in _owners(folder):
        with suppress(OSError):
            note = _read(file)
            lives = _lives(note)
            if lives is None:
                lives = abs(time.time() - file.stat().st_mtime) < SILENT_S
            if lives:
                return f"process {note.get('pid', '?')} on {note.get('host', '?')}"
    return None


def lock_until_exit(handle: int) -> bool:
    """Lock an open file, without waiting, until this process ends. False if another process has it.

    This is a lock of the kernel, for what belongs to one machine, such as a GPU: it ends with the process at once, and is
    seen in all its containers. Raises OSError if the file system has none.
    """
    try:
        # Not `flock`: loader processes would inherit that, and hold it for seconds after a kill of this process.
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):  # POSIX allows both
            return False
        raise
    return True


def why_no_kernel_locks(folder: Path) -> str | None:
    """What the kernel answers where the file system of `folder` has no locks of files; None where it has. SQLite needs them."""
    with suppress(OSError), tempfile.TemporaryFile(dir=folder) as probe:
        try:
            lock_until_exit(probe.fileno())
        except OSError as error:
            return error.strerror
    return None


def _renew(file: Path, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_S):
        with suppress(OSError):  # a full or failing disk is reported where something is saved
            os.utime(file)


def _owners(folder: Path) -> list[Path]:
    """The file of the owner, if there is one; also files that something else has left in the folder."""
    try:
        return list(folder.iterdir())
    except OSError as error:
        if error.errno in _GONE:
            return []
        raise


def _read(file: Path) -> dict[str, Any]:
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _time_ns(file: Path) -> int:
    with file.open("rb") as stream:  # opening it renews what a network file system knows of it
        return os.fstat(stream.fileno()).st_mtime_ns


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {"pid": pid, "pid_started": _started(pid), "since_unix": round(time.time())} | _place()


def _place() -> dict[str, str]:
    """Where a process number means something: the host, since it was booted, in this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return {"host": socket.gethostname(), "boot": boot, "pids": str(Path("/proc/self/ns/pid").readlink())}
    except OSError:
        return {"host": socket.gethostname()}


def _lives(note: dict[str, Any]) -> bool | None:
    """Whether the process that wrote the note lives. None if that cannot be seen here: on another host, in another container."""
    pid, place = note.get("pid"), _place()
    if "boot" not in place or any(note.get(key) != value for key, value in place.items()):
        return None
    try:
        os.kill(int(pid or 0), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it belongs to another user
        pass
    except (TypeError, ValueError, OverflowError):
        return None
    started = _started(pid)
    return None if started is None else started == note.get("pid_started")


def _started(pid: Any) -> str | None:
    """When a process started, in the kernel's count; "" if it is dead and not yet collected; None if that cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in ("Z", "X") else fields[19]
