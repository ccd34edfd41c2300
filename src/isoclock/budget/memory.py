"""Peak memory of tensors during a training step."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

MIB = float(1 << 20)


def peak_mib(step: Callable[[], object], device: torch.device, resident: list[Tensor]) -> float:
    """Peak MiB of tensor storage while `step` runs, what is resident before it (parameters, buffers, ...) included.

    On CUDA the allocator's own figure. On the CPU storages are counted as operators make them and as they are freed:
    workspaces inside an operator are not seen, so that figures of the two device types are not comparable.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) / MIB
    with _StorageMeter(resident) as meter:
        step()
    return meter.peak_bytes / MIB


class _StorageMeter(TorchDispatchMode):
    """Adds up the storages that are alive."""

    def __init__(self, resident: list[Tensor]) -> None:
        super().__init__()
        self._alive: dict[int, int] = {}
        self._bytes = self.peak_bytes = 0
        for tensor in resident:
            self._watch(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_iter(result):
            if isinstance(leaf, Tensor):
                self._watch(leaf)
        return result

    def _watch(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        self._alive[key] = storage.nbytes()
        self._bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self._bytes)
        weakref.finalize(storage, self._freed, key).atexit = False

    def _freed(self, key: int) -> None:
        self._bytes -= self._alive.pop(key, 0)
