"""Ctrl-C in Snakemake: the first one ends its jobs, which save their state; further ones change nothing.

A second KeyboardInterrupt, while Snakemake waits for its jobs to end, breaks its clean-up and prints pages of tracebacks.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from types import FrameType

WAIT = "isoclock: the jobs are saving their state; wait for them, or press Ctrl-\\ to kill Snakemake"
CONTINUES = "isoclock: interrupted, state saved; the same command continues"

_count = 0


def catch_interrupts() -> None:
    """Handle SIGINT in this process from now on. Nothing is changed where it is ignored, as in the background of a script."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def interrupted() -> bool:
    """Whether Ctrl-C was pressed."""
    return _count > 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    global _count
    _count += 1
    if _count == 1:
        atexit.register(lambda: print(CONTINUES, file=sys.stderr, flush=True))
        raise KeyboardInterrupt
    os.write(2, f"{WAIT}\n".encode())  # `print` is not safe in a handler: the interrupted code may be printing
