"""Which tensor operations run, and which of them make the host wait for an accelerator."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

HIDDEN_WAITS = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "unique", "bincount", "equal.default")


class Operations(TorchDispatchMode):
    """A context manager that counts tensor operations in `count` and lists those that wait for the device in `waits`."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::")
        self.count[name] += 1
        by_mask = name.startswith(("index.", "index_put")) and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if by_mask or name.startswith(HIDDEN_WAITS):
            self.waits.append(name)
        return func(*args, **(kwargs or {}))
