"""CIRKD's Triton kernels in Triton's interpreter. `test_cirkd_triton.py` runs this file in a process of its own.

TRITON_INTERPRET=1 must be set before triton is imported. Tiles are small, so that a few pixels need many.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import triton.language as tl
from cirkd_rounding import alike_along_lines, check, found, maps
from triton.runtime import interpreter

from isoclock.methods.cirkd import triton_pairs
from isoclock.methods.cirkd.triton_pairs import Blocks


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Blocks, "of", classmethod(lambda cls, _: cls(16, 16, 16, 16, 16)))
    plain = interpreter.InterpreterBuilder.create_dot

    def create_dot(builder: Any, a: Any, b: Any, *others: Any) -> Any:
        """The interpreter would multiply the bits of bfloat16 as integers."""
        if a.dtype.scalar == tl.bfloat16:
            a, b = (
                interpreter.TensorHandle(
                    interpreter._convert_float(one.data, tl.bfloat16, tl.float32, None).view(np.float32), tl.float32
                )
                for one in (a, b)
            )
        return plain(builder, a, b, *others)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", create_dot)


@pytest.mark.parametrize(
    ("images", "size", "channels"), [(1, (1, 1), (3, 5)), (2, (3, 6), (20, 33)), (3, (1, 5), (16, 4))]
)
def test_float32_of_any_shape(images: int, size: tuple[int, int], channels: tuple[int, int]) -> None:
    limit = check(maps(images, channels[0], size, 0), maps(images, channels[1], size, 1), 0.1, torch.float32, "triton")
    assert limit < 1e-3 or size == (1, 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_products(dtype: torch.dtype) -> None:
    assert check(*alike_along_lines(), 0.3, dtype, "triton") < 0.3


def test_float32_near_the_teacher() -> None:
    teacher = maps(2, 20, (3, 6), 1)
    limit = check(teacher + 1e-3 * maps(2, 20, (3, 6), 0), teacher, 0.1, torch.float32, "triton")
    assert limit < 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_student_like_its_teacher_has_no_loss_and_no_gradient(dtype: torch.dtype) -> None:
    teacher = maps(2, 5, (1, 17), 1)
    value, gradient = found(teacher, teacher, 0.1, dtype, "triton")
    assert value == 0
    assert not gradient.any()


def test_opposite_features_at_the_least_temperature_overflow_nowhere() -> None:
    teacher = maps(1, 6, (1, 1), 0) * torch.tensor([1.0, 1.0, -1.0, 1.0]) + 0.01 * maps(1, 6, (1, 4), 1)
    check(-teacher + 0.02 * maps(1, 6, (1, 4), 2), teacher, 0.03, torch.float32, "triton")


def test_padding_is_not_read() -> None:
    """Rows that are not contiguous, and whose channels fill no block."""
    rows = maps(2, 5, (1, 17), 0).float().permute(0, 2, 3, 1).flatten(0, 2)
    wide = torch.full((34, 9), torch.nan)
    wide[:, :5] = rows
    assert torch.equal(triton_pairs.sums(wide[:, :5], rows, 2), triton_pairs.sums(rows, rows, 2))
    gradient = triton_pairs.gradient(wide[:, :5], rows, torch.ones(2, 2, 34))
    assert gradient.shape == (34, 5)
    assert not gradient.any()
