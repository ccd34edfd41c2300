"""Fake CUDA tensors on a machine without CUDA: shapes, dtypes and devices are real, values do not exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from python_backward import python_backward
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

CUDA = torch.device("cuda", 0)
CAPABILITY = (9, 0)


@contextmanager
def fake_cuda() -> Iterator[None]:
    """Tensors that are made inside are fake, on the CPU or on CUDA.

    Replaced are the parts of torch that ask the CUDA driver, and `Module.to`, which cannot move fake parameters. This stays
    within the context; a no-operation guard for CUDA devices, which torch installs for its fake tensors, does not: after
    it, no tensor of this process finds its gradient with torch's own engine. Use a process of its own.
    """
    with ExitStack() as stack:
        for name, replacement in (
            ("torch.Generator", FakeGenerator),
            ("torch.cuda.is_available", lambda: True),
            ("torch.cuda.is_bf16_supported", lambda *_, **__: True),
            ("torch.cuda.get_device_capability", lambda _device=None: CAPABILITY),
            ("torch.cuda._exchange_device", lambda _index: CUDA.index),  # by `with torch.cuda.device(...)`
            ("torch.cuda._maybe_exchange_device", lambda _index: CUDA.index),
            ("torch.nn.Module._apply", _apply),
            ("torch._subclasses.fake_tensor.init_gpu_context", lambda _device: None),
        ):
            stack.enter_context(mock.patch(name, replacement))
        stack.enter_context(python_backward())
        stack.enter_context(_FakeTensorMode(allow_fallback_kernels=False, allow_non_fake_inputs=False))
        yield


class _FakeTensorMode(FakeTensorMode):
    """Does not use the driver, although `torch.cuda.is_available()` is true."""

    @property
    def avoid_device_init(self) -> bool:
        return True


class FakeGenerator(torch.Generator):
    """A generator of the CPU that states the device it was made for."""

    def __new__(cls, device: Any = "cpu") -> FakeGenerator:
        generator: FakeGenerator = super().__new__(cls, "cpu")
        generator._stated = torch.device(device)
        return generator

    def __init__(self, device: Any = "cpu") -> None:
        super().__init__()

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self._stated

    def manual_seed(self, seed: int) -> FakeGenerator:
        super().manual_seed(seed)
        return self


def _apply(self: nn.Module, change: Callable[[Any], Any], recurse: bool = True) -> nn.Module:
    """As torch's `Module._apply`: parameters change in place, so that optimisers keep them."""
    for child in self.children() if recurse else ():
        child._apply(change)
    with torch.no_grad():
        for parameter in self._parameters.values():
            if parameter is not None:
                assert isinstance(parameter, FakeTensor)
                changed = change(parameter)
                parameter.data = changed
                parameter.fake_device = changed.fake_device
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = change(buffer)
    return self
