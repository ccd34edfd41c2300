"""What a trainer is made to suffer, done in its own process before it starts. Named, so that they can be sent there."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from no_kernel_locks import refuse_locks

MIB = 1 << 20


def save_all_the_time() -> None:
    """However long saving takes, and with few anchor steps, so that a kill at a random moment often meets a save."""
    from isoclock.runner import session
    from isoclock.training import anchor

    session.SAVING_SHARE = float("inf")
    anchor.AnchorMeter.__init__.__kwdefaults__.update(warmup=1, windows=1, steps=1)


@dataclass(frozen=True)
class KilledInCheckpoint:
    """kill -9 (or another signal) in the middle of writing checkpoint number `save`, at the `call`-th call of `function`."""

    function: str  # of os: fsync, replace, unlink; or `write`, of a file
    call: int
    save: int
    sign: int = signal.SIGKILL

    def __call__(self) -> None:
        from isoclock.runner import checkpoint

        original, counted = checkpoint.save, [0]

        def save(*arguments: Any) -> int:
            counted[0] += 1
            if counted[0] == self.save:
                self.arm()
            return original(*arguments)

        checkpoint.save = save

    def arm(self) -> None:
        calls = [0]

        def deadly(original: Callable[..., Any]) -> Callable[..., Any]:
            def called(*arguments: Any, **named: Any) -> Any:
                calls[0] += 1
                if calls[0] == self.call:
                    if self.function == "write":  # half of it is on its way
                        stream, content = arguments
                        stream._stream.write(bytes(content)[: len(content) // 2])
                        stream._stream.flush()
                    os.kill(os.getpid(), self.sign)
                return original(*arguments, **named)

            return called

        if self.function == "write":
            from isoclock.runner import checkpoint

            checkpoint._Hashing.write = deadly(checkpoint._Hashing.write)
        elif self.function == "fsync":
            os.fsync = deadly(os.fsync)
        else:
            setattr(Path, self.function, deadly(getattr(Path, self.function)))


@dataclass(frozen=True)
class MemoryLimit:
    """As much address space as the process has now, and so many MiB more."""

    more_mib: int

    def __call__(self) -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + self.more_mib * MIB,) * 2)


@dataclass(frozen=True)
class NoKernelLocks:
    """The kernel answers with an error number whenever this process or a child of it locks a file, as on Lustre without `flock`.

    A seccomp filter, so that SQLite gets the answer too. 37: ENOLCK, 38: ENOSYS, 95: EOPNOTSUPP.
    """

    number: int

    def __call__(self) -> None:
        refuse_locks(self.number)


@dataclass(frozen=True)
class SlowSteps:
    """Every step takes that many seconds more, and no processor time."""

    step_s: float

    def __call__(self) -> None:
        import time

        from isoclock.training.step import TrainingStep

        at_full_speed = TrainingStep.__call__

        def slowly(*arguments: Any, **named: Any) -> Any:
            time.sleep(self.step_s)
            return at_full_speed(*arguments, **named)

        TrainingStep.__call__ = slowly


@dataclass(frozen=True)
class Elsewhere:
    """As if the process ran on another machine, or in another environment: what it writes down of those."""

    what: str  # torch | device_kind | threads | cudnn
    value: Any

    def __call__(self) -> None:
        import torch

        from isoclock.runner import run
        from isoclock.training import assemble

        if self.what == "torch":
            torch.__version__ = self.value
        elif self.what == "device_kind":
            run.device_kind = lambda _device: self.value
        elif self.what == "cudnn":
            run.cuda_versions = lambda _device: {"cuda": None, "cudnn": self.value}
        else:
            assemble.use_threads = lambda _threads: torch.set_num_threads(self.value)


def full_gpu() -> None:
    """The third step finds no memory on a GPU that is not there: with the error that torch raises."""
    import torch

    from isoclock.training.step import TrainingStep

    at_first, steps = TrainingStep.__call__, [0]

    def third(*arguments: Any, **named: Any) -> Any:
        steps[0] += 1
        if steps[0] == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79.1 GiB in all.")
        return at_first(*arguments, **named)

    TrainingStep.__call__ = third


def broken_step() -> None:
    """The third step fails by a fault of ours."""
    from isoclock.training.step import TrainingStep

    at_first, steps = TrainingStep.__call__, [0]

    def third(*arguments: Any, **named: Any) -> Any:
        steps[0] += 1
        if steps[0] == 3:
            raise KeyError("no such map")
        return at_first(*arguments, **named)

    TrainingStep.__call__ = third


def tiny_shared_memory() -> None:
    """A /dev/shm of this process's own, with room for less than a batch. Needs root."""
    import ctypes
    import subprocess

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000):  # CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", "/dev/shm"], check=True)


@dataclass(frozen=True)
class Environment:
    """Variables of the environment."""

    values: tuple[tuple[str, str], ...]

    def __call__(self) -> None:
        os.environ.update(self.values)


@dataclass(frozen=True)
class Payload:
    """What a pickle can do to whoever loads it."""

    mark: Path

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)
