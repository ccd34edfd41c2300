"""Memory of batches, used again once nothing refers to it."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class RecycledMemory:
    """Allocates tensors, and reuses the memory of those that no array or tensor refers to any more.

    A batch of large crops is too large for the allocator to keep. The kernel would free, allocate and zero it for every
    batch, which takes as long as making the batch.
    """

    def __init__(self) -> None:
        self._free: dict[tuple[Any, ...], list[NDArray[Any]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_free": {}}

    def empty(self, shape: tuple[int, ...], kind: type[np.generic]) -> Tensor:
        """As `torch.empty`."""
        free = self._free.setdefault((shape, kind), [])
        whole = free.pop() if free else np.empty(shape, kind)
        lent = whole.view()
        weakref.finalize(lent, free.append, whole).atexit = False
        return torch.from_numpy(lent)


class PinnedMemory:
    """Allocates tensors in pinned memory, from which a GPU copies while the host goes on.

    torch's allocator reuses the memory of released tensors. Before that it waits for the CUDA events of the copies from
    it, so that a batch is not overwritten while it is being copied.
    """

    def empty(self, shape: tuple[int, ...], kind: type[np.generic]) -> Tensor:
        """As `torch.empty`."""
        return torch.empty(shape, dtype=torch.from_numpy(np.empty(0, kind)).dtype, pin_memory=True)
