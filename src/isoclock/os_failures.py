"""What the operating system refuses, in one line each: no room, no permission, a read-only disk, too many open files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isoclock.errors import UserError

Failure = tuple[str, str, str]
"""Name of the reason, what happened, what to do."""

OS_REASONS = ("disk-full", "system")
"""Names of the reasons here."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_PERMISSION = "get permission from its owner, or work in a copy elsewhere"
_NO_FOLDER = "a file is where a folder is needed: rename or remove it"
_ADVICE = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "remove files there, or ask for a larger quota",
    errno.EROFS: "make it writable, or work in a copy elsewhere",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EMFILE: "raise the limit (`ulimit -n 65536`), or take fewer workers",
    errno.ENFILE: "end other programs, or raise the machine's limit (`sysctl fs.file-max`)",
    errno.EFBIG: "raise the limit of a file's size (`ulimit -f unlimited`), or use another file system",
    errno.EIO: "the disk or the connection to it fails: check `dmesg`",
    errno.ESTALE: "the file system was unmounted: mount it again",
    errno.ENOTCONN: "the file system was unmounted: mount it again",
    errno.ENAMETOOLONG: "use shorter names",
    errno.ELOOP: "a link leads back to itself: correct it",
    errno.ENOTDIR: _NO_FOLDER,
    errno.EEXIST: _NO_FOLDER,
    errno.EISDIR: "a folder is where a file is needed: rename or remove it",
    errno.EBUSY: "another program uses it, or something is mounted there",
    errno.ENOENT: "restore it, or run the verb that makes it again",
    errno.EAGAIN: "end other programs, or raise the limit of processes (`ulimit -u`)",
    errno.ENOMEM: "end other programs, or use a machine with more memory",
}
_OTHERWISE = "check it, then run the same command again"
# What libraries report as text only, such as "I/O error: No space left on device (os error 28)".
_AS_TEXT = (*_DISK_FULL, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.EFBIG, errno.EIO)


def os_failure(error: BaseException) -> Failure | None:
    """The failure that an exception reports, with the file if it names one. None if the system refused nothing."""
    if (code := _code(error)) is None:
        return None
    what = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno is not None:
        path = error.filename if error.filename2 is None else error.filename2
        what = error.strerror or os.strerror(code)
        what = f"{os.fsdecode(path)}: {what}" if isinstance(path, str | bytes | os.PathLike) else what
    no_temporary_folder = code == errno.ENOENT and "temporary directory" in what
    advice = "set TMPDIR to a folder that can be written" if no_temporary_folder else _ADVICE.get(code, _OTHERWISE)
    return "disk-full" if code in _DISK_FULL else "system", what, advice


def os_problem(error: BaseException, then: str = "") -> UserError | None:
    """The failure as a problem of one line; None if the system refused nothing."""
    if (failure := os_failure(error)) is None:
        return None
    return UserError("; ".join(filter(None, [*failure[1:], then])))


@contextmanager
def naming(path: Path, prefix: str | None = None) -> Iterator[None]:
    """Raise errors that name no file, such as that of a full disk, as an OSError that names `path`.

    So are errors that name a temporary file: one whose name starts with `prefix`.
    """
    try:
        yield
    except Exception as error:
        names = [name for key in ("filename", "filename2") if (name := getattr(error, key, None)) is not None]
        named = bool(names) and not (prefix and any(Path(str(name)).name.startswith(prefix) for name in names))
        if named or (code := _code(error)) is None:
            raise
        raise OSError(code, os.strerror(code), str(path)) from error


def _code(error: BaseException) -> int | None:
    if isinstance(error, UserError):
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, OSError) and isinstance(error.__cause__, OSError):  # as matplotlib reports its cache folder
        return error.__cause__.errno
    return next((code for code in _AS_TEXT if os.strerror(code) in str(error)), None)
