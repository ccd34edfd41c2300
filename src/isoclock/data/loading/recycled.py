"""Arrays whose memory is used again once nothing refers to them."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray


class RecycledArrays:
    """Allocates arrays, and reuses the memory of those that no array or tensor refers to any more.

    A batch of large crops is too large for the allocator to keep. The kernel would free, allocate and zero it for every
    batch, which takes as long as making the batch.
    """

    def __init__(self) -> None:
        self._free: dict[tuple[Any, ...], list[NDArray[Any]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_free": {}}

    def empty(self, shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
        """As `np.empty`."""
        free = self._free.setdefault((shape, kind), [])
        whole = free.pop() if free else np.empty(shape, kind)
        lent = whole.view()
        weakref.finalize(lent, free.append, whole).atexit = False
        return lent
