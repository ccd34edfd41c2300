"""Failures from outside a run, reported in one line: memory, files, GPU, loaders. Nothing is changed to work around them."""

from __future__ import annotations

import re
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError

from isoclock.data.loading.waiting import NoData
from isoclock.errors import UserError
from isoclock.os_failures import OS_REASONS, os_failure
from isoclock.runner.gpu_failures import LESS_MEMORY, gpu_failure

if TYPE_CHECKING:
    from isoclock.params.schema import Recipe

MIB = float(1 << 20)
_OUTSIDE = (RuntimeError, MemoryError, OSError, SafetensorError)
_CPU_MEMORY = re.compile(r"can't allocate memory|not enough memory|[Cc]annot allocate memory")
_SHARED_MEMORY = re.compile(r"out of shared memory|</torch_\S*>.*No space left|shared memory\(shm\)|Bus error")
_LOADER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.*)")
_OPEN_FILES = re.compile(r"Too many open files|received 0 items of ancdata")
# An error of the operating system in a loader process: the last line of its traceback.
_IN_LOADER = re.compile(r"^Caught (\w+) (?:in DataLoader worker|while it sent a batch).* \1: (.*)$")


@contextmanager
def as_user_error(
    title: str,
    describe: Callable[[], str],
    record: Callable[[str, str], None] | None = None,
    *,
    then: str = "continues from the last checkpoint",
) -> Iterator[None]:
    """Turn a failure from outside into a UserError; `record(reason, message)` is called first.

    `describe` gives the figures that the message needs (see `figures`), `then` says what the same command does next. Other
    exceptions are faults of the program: they are recorded too, and raised unchanged.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        with _undisturbed():
            found = _reason(error) if isinstance(error, _OUTSIDE) else None
            if found is None:
                if record is not None:
                    first_line = (str(error).strip().splitlines() or [""])[0]
                    record("error", f"{type(error).__name__}: {first_line} ({describe()})")
                raise
            reason, what, advice = found
            about = "" if reason in OS_REASONS else f" ({describe()})"
            message = f"{what}{about}; {advice}; the same command {then}"
            if record is not None:
                record(reason, message)
            raise UserError(f"{title}: {message}") from error


def figures(method: str, recipe: Recipe, device: torch.device) -> str:
    """What a step's memory depends on, and how much was used: method, crop, batch and peak memory."""
    height, width = recipe.crop
    return f"method {method}, crop {height}x{width}, batch {recipe.batch}, {peak_memory(device)}"


def peak_memory(device: torch.device) -> str:
    """Most memory the training process has held so far: of the device's allocator, or of the process on the CPU."""
    if device.type == "cuda":
        return f"peak {torch.cuda.max_memory_allocated(device) / MIB:.0f} MiB on {device}"
    # Linux counts in KiB.
    return f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB of the process"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Loader processes may die meanwhile: torch's handler would raise in the middle of the report."""
    if threading.current_thread() is not threading.main_thread():  # signals are not its business
        yield
        return
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _reason(error: Exception) -> tuple[str, str, str] | None:
    """(name, what happened, what to do), or None for a fault of the program."""
    text = " ".join(str(error).split())
    if _SHARED_MEMORY.search(text):
        advice = "give /dev/shm more room (containers: --shm-size), or take fewer workers (params/training.yaml)"
        return "shared-memory", "shared memory is exhausted: loader processes hand batches over in /dev/shm", advice
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or _CPU_MEMORY.search(text):
        return "out-of-memory", "out of memory", LESS_MEMORY
    if (failure := gpu_failure(text)) is not None:
        return failure
    if _OPEN_FILES.search(text):
        advice = "raise the limit (ulimit -n), or take fewer workers (params/training.yaml)"
        return "open-files", "too many open files", advice
    if isinstance(error, NoData):
        advice = "check the data's file system, or raise loader_timeout_s (params/training.yaml)"
        return "no-data", str(error), advice
    if isinstance(error, OSError) and (found := _IN_LOADER.search(text)):
        return "loader-failed", f"a loader process cannot go on: {found[2]}", "see to the cause"
    if found := _LOADER.search(text):
        advice = "if the machine ran out of memory, ask for more, or take fewer workers (params/training.yaml)"
        return "loader-died", f"loader process {found[1]} {found[2].rstrip('. ')}", advice
    return os_failure(error)
