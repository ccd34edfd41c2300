"""CIRKD's Triton kernels: values in Triton's interpreter, machine code of two kinds of GPU, and when they are used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from isoclock.methods.cirkd.minibatch import pairwise_implementation

CUDA = torch.device("cuda")
SHARED = 99 << 10
"""Bytes of shared memory that one block may have at capability 8.6, 8.9 and 12.0; 8.0 and 9.0 allow more."""


def test_values_and_gradients_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="torch came without triton")
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(Path(__file__).with_name("interpreted_cirkd.py"))],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("capability", "instruction"), [(80, "mma.sync"), (90, "wgmma.mma_async")])
def test_both_kernels_compile_for_tensor_cores(
    capability: int, instruction: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the head channels of r101-r18 in bfloat16. No GPU is needed: ptxas comes with triton."""
    triton = pytest.importorskip("triton", reason="torch came without triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from isoclock.methods.cirkd import triton_pairs

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    blocks = triton_pairs.Blocks.of(torch.empty(1, 128, dtype=torch.bfloat16))
    sizes = {"OURS": 128, "THEIRS": 512, "STEP": blocks.step}
    for kernel, constants in (
        (triton_pairs._sums_kernel, {**sizes, "SIDE": blocks.side}),
        (
            triton_pairs._gradient_kernel,
            {**sizes, "ROWS": blocks.rows, "COLUMNS": blocks.columns, "PART": blocks.part},
        ),
    ):
        kinds = {"ours": "*bf16", "theirs": "*bf16", "pixels": "i32", "images": "i32"}
        signature = {name: "constexpr" if name in constants else kinds.get(name, "*fp32") for name in kernel.arg_names}
        aligned: Any = {
            (place,): [["tt.divisibility", 16]]
            for place, name in enumerate(kernel.arg_names)
            if signature[name].startswith("*") or name == "pixels"
        }
        values = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
        source = ASTSource(kernel, signature, values, aligned)
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 8})
        assert compiled.asm["cubin"]
        assert instruction in compiled.asm["ptx"]
        assert compiled.metadata.shared <= SHARED


@pytest.mark.parametrize(
    ("capability", "dtype", "precision", "expected"),
    [
        ((9, 0), torch.bfloat16, "highest", "triton"),
        ((8, 0), torch.float16, "highest", "triton"),
        ((8, 6), torch.float32, "high", "triton"),
        ((9, 0), torch.float32, "highest", "streamed"),
        ((9, 0), torch.float64, "high", "streamed"),
        ((7, 5), torch.float16, "highest", "streamed"),
    ],
)
def test_triton_needs_tensor_cores_for_the_products(
    capability: tuple[int, int], dtype: torch.dtype, precision: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton", reason="torch came without triton")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: precision)
    assert pairwise_implementation(CUDA, dtype) == expected


def test_a_cpu_and_a_machine_without_triton_get_the_tiles_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pairwise_implementation(torch.device("cpu"), torch.bfloat16) == "streamed"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("isoclock.methods.cirkd.minibatch.find_spec", lambda _: None)
    assert pairwise_implementation(CUDA, torch.bfloat16) == "streamed"
