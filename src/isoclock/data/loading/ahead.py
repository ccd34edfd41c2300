"""Batches on a GPU: the next one is copied there while the current one is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class CopiedAhead:
    """Copies batches (dicts; tensors in pinned memory) to a device, one batch ahead of the one that is asked for.

    The copy runs on a stream of its own, and the host does not wait for it. The stream first waits for the work that is
    queued on the current one, because a copy may get the memory of an earlier batch which that work reads. A batch that
    was copied and not asked for is lost with this object: whoever counts batches counts the received ones.
    """

    def __init__(self, batches: Iterator[dict[str, Any]], device: torch.device) -> None:
        self._batches, self._device = batches, device
        self._module = torch.get_device_module(device)
        self._stream = self._module.Stream(device)
        self._next: dict[str, Any] | None = None

    def __iter__(self) -> CopiedAhead:
        return self

    def __next__(self) -> dict[str, Any]:
        batch = self._copied(next(self._batches)) if self._next is None else self._next
        self._module.current_stream(self._device).wait_stream(self._stream)
        following = next(self._batches, None)
        self._next = None if following is None else self._copied(following)
        return batch

    def _copied(self, batch: dict[str, Any]) -> dict[str, Any]:
        self._stream.wait_stream(self._module.current_stream(self._device))
        with self._module.stream(self._stream):
            return {
                name: value.to(self._device, non_blocking=True) if isinstance(value, Tensor) else value
                for name, value in batch.items()
            }
