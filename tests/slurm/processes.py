"""Processes and ports of this machine, as a cluster's starting and ending needs them."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

MARK = "ISOCLOCK_TEST_CLUSTER"
"""Variable with a cluster's folder, in the environment of everything that was started for it: daemons, Snakemake, jobs."""


def wait(holds: Callable[[], bool], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)  # other processes can only be polled
    return True


def runs(pid: int) -> bool:
    """Whether a process lives; one that has ended and was not reaped does not."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "\nState:\tZ" not in status


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def free_ports(count: int) -> Sequence[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def marked(folder: str | Path) -> set[int]:
    """Everything that runs for the cluster in that folder, other than this process."""
    mark = f"{MARK}={folder}".encode()
    found = {pid for pid in processes() if mark in _read(pid, "environ").split(b"\0")} - {os.getpid()}
    # A slurmstepd has overwritten its environment; it is the parent of what it has started, and a child of a slurmd.
    related = {_parent(pid) for pid in found} | {child for pid in found for child in children(pid)}
    return found | {pid for pid in related if _read(pid, "comm").strip() == b"slurmstepd"}


def end_marked(folder: str | Path) -> None:
    """Kill all of that, and what it starts in the meantime."""
    while pids := marked(folder):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
