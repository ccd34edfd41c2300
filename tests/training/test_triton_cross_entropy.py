"""The task loss's Triton kernel without a GPU: its numbers in Triton's interpreter, and compiled for two generations."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from isoclock.training import task_loss

pytest.importorskip("triton", reason="triton comes with torch on Linux only")

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from isoclock.training import triton_cross_entropy

TYPES = {
    "classes": "*i64",
    "shares": "*fp32",
    "losses": "*fp32",
    "parts": "*fp32",
    "MOST_COLUMNS": "constexpr",
    "PIXELS": "constexpr",
    "CLASSES": "constexpr",
    "WANTS_GRADIENT": "constexpr",
}


def test_numbers_in_the_interpreter() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--noconftest", "-p", "no:cacheprovider"]
    command.append("interpreted_task_loss.py")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        command, cwd=Path(__file__).parent, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("logits", ["*bf16", "*fp32"])
def test_compiles_without_a_gpu(logits: str, capability: int) -> None:
    kernel = triton_cross_entropy._cell_kernel
    signature = {name: {"logits": logits, **TYPES}.get(name, "i32") for name in kernel.arg_names}
    constants = {"MOST_COLUMNS": 8, "PIXELS": 64, "CLASSES": 32, "WANTS_GRADIENT": True}
    source = ASTSource(kernel, signature, {(kernel.arg_names.index(name),): value for name, value in constants.items()})
    compiled = compile(source, target=GPUTarget("cuda", capability, 32))
    assert compiled.asm["cubin"]
    assert compiled.metadata.shared <= 48 * 1024  # bytes that every GPU has


@pytest.mark.parametrize(
    ("capability", "dtype", "size", "expected"),
    [
        ((9, 0), torch.bfloat16, (64, 128), True),
        ((8, 0), torch.float32, (65, 129), True),
        ((7, 5), torch.float32, (64, 128), False),
        ((9, 0), torch.float64, (64, 128), False),
        ((9, 0), torch.float32, (1024, 1024), False),  # labels smaller than the logits
        ((9, 0), torch.float32, (16, 32), False),  # 32 times larger
    ],
)
def test_other_gpus_types_and_sizes_use_plain_operators(
    capability: tuple[int, int],
    dtype: torch.dtype,
    size: tuple[int, int],
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    full = torch.Size((512, 1024))
    assert task_loss.has_kernel(torch.device("cuda", 0), dtype, torch.Size(size), full) is expected
    assert not task_loss.has_kernel(torch.device("cpu"), dtype, torch.Size(size), full)
