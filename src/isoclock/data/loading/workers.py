"""Loader processes: how they start, how they end, and what is reported when one is killed."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from functools import cache
from multiprocessing import parent_process, resource_sharer
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from types import TracebackType
from typing import Any

import cv2
from torch._utils import ExceptionWrapper

CONNECTION_LOST = (ConnectionError, EOFError, FileNotFoundError)
"""Errors of reading from a process that was killed."""
_DYING_S = 4.0  # how long to wait for a loader process that has closed its connection


def start_worker(sockets: str, _worker: int) -> None:
    """Prepare a loader process, which makes its sockets in the folder `sockets`.

    It ignores SIGINT and SIGTERM, keeps OpenCV to one thread, sends the error where a batch cannot be sent, and prints
    nothing when the training process hangs up.
    """
    silence_lost_connections()
    tempfile.tempdir = sockets
    Queue._on_queue_feeder_error = _send_error  # type: ignore[attr-defined]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A worker uses one core. OpenCV's thread pool would compete with the training process, and does not survive a fork.
    cv2.setNumThreads(0)


def _send_error(queue: Queue[Any], _error: Exception, item: tuple[int, Any]) -> None:
    # multiprocessing would print the error and drop the batch, for which the training process would then wait.
    if isinstance(item[1], ExceptionWrapper):
        os._exit(1)
    queue.put((item[0], ExceptionWrapper(where="while it sent a batch")))


@cache
def silence_lost_connections() -> None:
    """Print no traceback when a thread loses the connection to the other process: the training process reports the cause.

    Such threads are torch's, which pins batches that loader processes send, and multiprocessing's, which serves file
    descriptors: it prints with `sys.excepthook` and goes on. If that one cannot accept connections (too many open files),
    its process ends, with one line. Other errors of threads are printed as before.
    """
    printed, printed_of_thread = sys.excepthook, threading.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        serves = trace is not None and trace.tb_frame.f_globals is vars(resource_sharer)
        cannot_serve = serves and isinstance(error, OSError) and not isinstance(error, CONNECTION_LOST)
        if cannot_serve and parent_process() is not None:
            # It would fail and print for ever, and the training process would wait.
            print(f"isoclock: loader process {os.getpid()}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        if not (serves and issubclass(kind, CONNECTION_LOST)):
            printed(kind, error, trace)

    def hook_of_thread(error: threading.ExceptHookArgs) -> None:
        pins = error.thread is not None and "_pin_memory_loop" in error.thread.name
        if not (pins and issubclass(error.exc_type, CONNECTION_LOST)):
            printed_of_thread(error)

    sys.excepthook, threading.excepthook = hook, hook_of_thread


def dead_worker(loaders: set[BaseProcess]) -> RuntimeError | None:
    """The error that torch raises for a dead loader process, or None if all are alive.

    A killed process closes its sockets some milliseconds before it is dead. Fetching a batch in between raises a
    connection error that does not name the cause. While this function waits, torch's own signal handler may raise.
    """
    closed = wait([process.sentinel for process in loaders], _DYING_S)
    dead = [process for process in loaders if process.sentinel in closed]
    for process in dead:
        process.join()
    pids = ", ".join(f"{process.pid}" for process in dead)
    return RuntimeError(f"DataLoader worker (pid(s) {pids}) exited unexpectedly") if dead else None


def end_workers(loaders: set[BaseProcess]) -> None:
    """Kill the remaining loader processes of a stream when the training process exits.

    They are still running after an error. multiprocessing would send them SIGTERM, which they ignore, and wait forever.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's own handler raises when a loader is killed
    for process in loaders:
        process.kill()
