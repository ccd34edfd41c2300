"""What may be where a file is expected."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

NO_FILES = ("a folder", "a FIFO", "a socket", "a device")


def put(path: Path, kind: str) -> Path:
    """Make a folder, FIFO, socket or device at `path`, in place of a file that is there; other names make a file."""
    path.unlink(missing_ok=True)
    if kind == "a folder":
        path.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as listening, contextlib.chdir(path.parent):
            listening.bind(path.name)  # a short name: that of a socket has at most 107 bytes
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(b"{}")
    return path
