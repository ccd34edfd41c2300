"""Tests on an accelerator: tensors that test code makes without naming a device are put there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_TORCH = str(Path(torch.__file__).parent)
_CONTRACT = str(Path(__file__).parent / "methods" / "testing")
_MAKERS: set[Any] = {
    torch.arange,
    torch.as_tensor,
    torch.empty,
    torch.eye,
    torch.full,
    torch.linspace,
    torch.ones,
    torch.rand,
    torch.randint,
    torch.randn,
    torch.randperm,
    torch.tensor,
    torch.zeros,
}
_TO_NUMPY: set[Any] = {Tensor.numpy, Tensor.__array__}


def tests_on(device: torch.device | str, *folders: Path) -> AbstractContextManager[object]:
    """A context in which tensors that test code makes without naming a device are on `device`.

    Test code is the contract test of methods, and the files below `folders`. What other code makes is left alone: a loss that
    forgets a tensor on the CPU fails, as it does in training. Random numbers are drawn on the CPU, and are the same on every
    device. `numpy()`, called by test code, copies to the host.
    """
    found = torch.device(device)
    return nullcontext() if found.type == "cpu" else _TestTensors(found, folders)


class _TestTensors(TorchFunctionMode):
    def __init__(self, device: torch.device, folders: Sequence[Path]) -> None:
        super().__init__()
        self.device = device
        self._places = tuple(f"{folder}/" for folder in (_CONTRACT, *folders))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _TO_NUMPY and self._is_called_by_tests():
            return func(args[0].cpu(), *args[1:], **kwargs)
        made = func(*args, **kwargs)
        if func in _MAKERS and kwargs.get("device") is None and self._is_called_by_tests():
            return made.detach().to(self.device).requires_grad_(made.requires_grad)
        return made

    def _is_called_by_tests(self) -> bool:
        """Whether the nearest caller outside of torch and of this file (contexts may be nested) is test code."""
        frame = sys._getframe(2)
        while frame.f_back is not None and frame.f_code.co_filename.startswith((_TORCH, __file__)):
            frame = frame.f_back
        return frame.f_code.co_filename.startswith(self._places)
