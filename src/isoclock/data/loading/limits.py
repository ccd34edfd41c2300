"""What loader processes need of the machine, checked before they start: a folder for sockets, open files, shared memory."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from pathlib import Path

from isoclock.errors import UserError

BATCHES_AHEAD = 2
"""Batches that each loader process makes ahead."""
SHARED_MEMORY = Path("/dev/shm")
_LONGEST_SOCKET = 107  # bytes of a socket's path
_LONGEST_FOLDER = _LONGEST_SOCKET - len("/pymp-12345678/listener-12345678")  # what multiprocessing adds
_SHORT_FOLDERS = ("/tmp", "/var/tmp", str(SHARED_MEMORY))
_TENSORS = 4  # of a batch; each is an open file
_FILES_OF_WORKER = 6  # its pipes
_STREAMS = 2  # of the run, and of its anchor steps
_SPARE_FILES = 32
_FEWER = "take fewer workers (params/training.yaml)"


def check_machine(workers: int, batch_bytes: int) -> None:
    """Raise UserError where `workers` loader processes cannot hand over batches of `batch_bytes` each.

    The soft limit of open files is raised, as far as the hard limit allows, where it is too low. Without workers there is
    nothing to check.
    """
    if workers:
        socket_folder()
        _allow_open_files(workers)
        _check_shared_memory(workers, batch_bytes)


def socket_folder() -> str:
    """The folder for sockets of loader processes: that for temporary files or, where its path is too long, a shorter one.

    Raises UserError if there is none.
    """
    try:
        own = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UserError(f"TMPDIR: {error.strerror}; set it to a folder that can be written") from None
    for folder in (own, *_SHORT_FOLDERS):
        if len(os.fsencode(folder)) <= _LONGEST_FOLDER and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise UserError(
        f"TMPDIR: {own}: {len(os.fsencode(own))} bytes, and sockets of loader processes allow {_LONGEST_FOLDER}; "
        "set it to a shorter folder, or set workers: 0 (params/training.yaml)"
    )


def _allow_open_files(workers: int) -> None:
    batches = BATCHES_AHEAD * workers + 3
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _open_files(soft) + _STREAMS * (_TENSORS * batches + _FILES_OF_WORKER * workers) + _SPARE_FILES
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise UserError(
            f"limit of open files: {hard}, and {workers} loader processes need {needed}; raise it (ulimit -Hn), or {_FEWER}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _open_files(soft: int) -> int:
    listed = Path("/dev/fd")  # not in a container without /proc
    try:
        return len(list(listed.iterdir())) if listed.is_dir() else 0
    except OSError:  # as many as are allowed
        return soft


def _check_shared_memory(workers: int, batch_bytes: int) -> None:
    if not SHARED_MEMORY.is_dir():
        return
    # The fewest batches there are when the loader processes are slower than the training. It usually takes more.
    needed, free = (workers + 1) * batch_bytes, shutil.disk_usage(SHARED_MEMORY).free
    if needed > free:
        raise UserError(
            f"{SHARED_MEMORY}: {free / 2**20:.1f} MiB are free, and {workers} loader processes need at least "
            f"{needed / 2**20:.1f} MiB for batches; give it more room (containers: --shm-size), or {_FEWER}"
        )
