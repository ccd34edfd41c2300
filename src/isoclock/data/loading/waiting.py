"""Waiting for batches and images, with an end: at a stop request, or when none comes for too long."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

REPORT_AFTER_S = 10.0
_LOOK_EVERY_S = 0.5  # whether a stop is requested

T = TypeVar("T")


class Stopped(Exception):
    """A stop was requested while a batch was waited for. The batch was not received."""


class NoData(TimeoutError):
    """No batch or image came in the time that `loader_timeout_s` allows."""


_stop_requested: Callable[[], bool] | None = None


@contextmanager
def stopped_by(requested: Callable[[], bool] | None) -> Iterator[None]:
    """In this context, a wait ends with `Stopped` within a second after `requested` returns True; with None, no stop ends it."""
    global _stop_requested
    before, _stop_requested = _stop_requested, requested
    try:
        yield
    finally:
        _stop_requested = before


class Waited(Generic[T]):
    """What `source` yields, which is iterated in a thread, so that the caller can stop waiting even if the source hangs.

    The thread gets the next item only when it is asked for, and nothing is made ahead. After `REPORT_AFTER_S` a line on
    stderr says that it is missing, and where it should come from (`origin`). Raises Stopped (see `stopped_by`), NoData after
    `timeout_s`, and what `source` raises. After Stopped and NoData, and after a signal handler has raised, the next item is
    still the one that was waited for.
    """

    def __init__(self, source: Iterator[T], timeout_s: float, origin: str) -> None:
        self._timeout_s, self._origin = timeout_s, origin
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._answers: SimpleQueue[T | BaseException] = SimpleQueue()
        self._is_asked = False
        threading.Thread(target=_serve, args=(source, self._asked, self._answers), name="batches", daemon=True).start()
        # The thread drops the source, and with it the loader processes, when this object is gone.
        weakref.finalize(self, self._asked.put, False).atexit = False

    def __iter__(self) -> Waited[T]:
        return self

    def __next__(self) -> T:
        if not self._is_asked:
            self._is_asked = True
            self._asked.put(True)
        answer = self._wait()
        self._is_asked = False
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _wait(self) -> T | BaseException:
        started, report_s = time.monotonic(), REPORT_AFTER_S
        while True:
            try:
                return self._answers.get(timeout=min(_LOOK_EVERY_S, report_s, self._timeout_s))
            except Empty:
                waited_s = time.monotonic() - started
            if _stop_requested is not None and _stop_requested():
                raise Stopped
            if waited_s >= self._timeout_s:
                raise NoData(f"no data for {self._timeout_s:g} s from {self._origin}")
            if waited_s >= report_s:
                line = f"no data for {waited_s:.0f} s from {self._origin}; waiting for up to {self._timeout_s:g} s"
                print(f"isoclock: {line} (loader_timeout_s)", file=sys.stderr, flush=True)
                report_s = float("inf")


def _serve(source: Iterator[T], asked: SimpleQueue[bool], answers: SimpleQueue[T | BaseException]) -> None:
    while asked.get():
        try:
            answers.put(next(source))  # no name here refers to it: its memory is used again when the caller releases it
        except BaseException as error:  # StopIteration too
            answers.put(error)
