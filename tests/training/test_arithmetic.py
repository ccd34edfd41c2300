"""A recipe sets every switch of torch's arithmetic, whatever the process found in its environment or set before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from isoclock.errors import UserError
from isoclock.training.arithmetic import autocast, use_arithmetic, without_benchmark
from tiny_recipe import recipe

CPU = torch.device("cpu")
PRINT_SWITCHES = """
import sys
import torch
from isoclock.training.arithmetic import use_arithmetic
from tiny_recipe import recipe
use_arithmetic(recipe(matmul_precision=sys.argv[1]), torch.device("cpu"))
print(torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
"""


def switches() -> dict[str, bool | str]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "matmul_precision": torch.get_float32_matmul_precision(),
        "products in TF32": matmul.allow_tf32,
        "convolutions in TF32": cudnn.allow_tf32,
        "benchmark": cudnn.benchmark,
        "deterministic": cudnn.deterministic,
        "cudnn": cudnn.enabled,
        "bf16 sums": matmul.allow_bf16_reduced_precision_reduction,
        "fp16 sums": matmul.allow_fp16_reduced_precision_reduction,
        "fp16 accumulators": matmul.allow_fp16_accumulation,
    }


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """These switches belong to the process."""
    yield
    use_arithmetic(recipe(), CPU)


@pytest.mark.parametrize("precision", ["highest", "high"])
@pytest.mark.parametrize("benchmark", [False, True])
def test_nothing_stays_as_it_was(precision: str, benchmark: bool) -> None:
    torch.set_float32_matmul_precision("medium")
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    cudnn.allow_tf32 = precision == "highest"
    cudnn.benchmark, cudnn.deterministic, cudnn.enabled = not benchmark, True, False
    matmul.allow_bf16_reduced_precision_reduction = matmul.allow_fp16_reduced_precision_reduction = False
    matmul.allow_fp16_accumulation = True
    use_arithmetic(recipe(matmul_precision=precision, cudnn_benchmark=benchmark), CPU)
    assert switches() == {
        "matmul_precision": precision,
        "products in TF32": precision == "high",
        "convolutions in TF32": precision == "high",
        "benchmark": benchmark,
        "deterministic": False,
        "cudnn": True,
        "bf16 sums": True,
        "fp16 sums": True,
        "fp16 accumulators": False,
    }


@pytest.mark.parametrize(("precision", "expected"), [("highest", "highest False False"), ("high", "high True True")])
def test_the_environment_does_not_count(precision: str, expected: str) -> None:
    """A variable that lets torch use TF32 is read when torch starts."""
    found = subprocess.run(
        [sys.executable, "-c", PRINT_SWITCHES, precision],
        env={"PYTHONPATH": ":".join(sys.path), "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert found.stdout.strip() == expected


def test_a_variable_that_torch_cannot_override_is_refused_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    use_arithmetic(recipe(), CPU)
    with pytest.raises(UserError, match=r"NVIDIA_TF32_OVERRIDE: 0: overrides matmul_precision .* unset it"):
        use_arithmetic(recipe(), torch.device("cuda", 0))


@pytest.mark.parametrize("benchmark", [False, True])
def test_scoring_tries_no_algorithms_and_leaves_the_switch(benchmark: bool) -> None:
    torch.backends.cudnn.benchmark = benchmark
    with without_benchmark():
        assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark == benchmark


@pytest.mark.parametrize(
    ("precision", "product"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_products_are_in_the_precision_of_the_recipe(precision: str, product: torch.dtype) -> None:
    values = torch.ones(4, 4)
    with autocast(precision, CPU):
        assert (values @ values).dtype == product
        with autocast(precision, CPU, enabled=False):
            assert (values @ values).dtype == torch.float32
