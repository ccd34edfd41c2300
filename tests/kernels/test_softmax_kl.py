from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.kernels import softmax_blocks
from isoclock.kernels.softmax_kl import softmax_kl_sum


def plain(student: Tensor, teacher: Tensor, *, dim: int, temperature: float, weight: Tensor | None = None) -> Tensor:
    ours, theirs = F.log_softmax(student / temperature, dim), F.log_softmax(teacher / temperature, dim)
    rows = (theirs.exp() * (theirs - ours)).sum(dim)
    return (rows if weight is None else rows * weight).sum()


def maps(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check(student: Tensor, teacher: Tensor, tolerance: float = 1e-10, **how: object) -> None:
    found = []
    for divergence in (plain, softmax_kl_sum):
        leaf = student.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        value = divergence(leaf, teacher, **how)  # type: ignore[operator]
        found.append([value.detach(), torch.autograd.grad(value, leaf)[0]])
    for expected, ours in zip(*found, strict=True):
        assert (ours - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize("dim", [1, -1, 0])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("block", [300, 1 << 17])
@pytest.mark.parametrize("last", [(False, False), (True, True), (True, False), (False, True)])
def test_any_layout_in_any_blocks(
    dim: int, temperature: float, block: int, last: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softmax_blocks, "_CPU_BLOCK", block)
    student, teacher = (
        maps(2, 70, 9, 13, seed=seed).contiguous(
            memory_format=torch.channels_last if channels_last else torch.contiguous_format
        )
        for seed, channels_last in enumerate(last)
    )
    check(student, teacher, dim=dim, temperature=temperature)
    check(student.flatten(2), teacher.flatten(2), dim=2, temperature=temperature)


@pytest.mark.parametrize("inner", [1, 3])
def test_long_reductions_with_a_narrow_inner_axis(inner: int) -> None:
    check(maps(2, 128, inner, scale=30.0), maps(2, 128, inner, seed=1, scale=30.0), dim=1, temperature=1.0)


def test_weights_broadcast_over_the_reduced_shape() -> None:
    student, teacher = maps(2, 5, 4, 6), maps(2, 5, 4, 6, seed=1)
    for weight in (maps(2, 4, 6, seed=2).abs(), maps(2, 1, 1, seed=3).abs(), maps(6, seed=4) > 0):
        check(student, teacher, dim=1, temperature=2.0, weight=weight)


def test_a_student_that_is_a_part_of_a_larger_map() -> None:
    check(maps(2, 9, 4, 6)[:, ::2, :, 1:], maps(2, 5, 4, 5, seed=1), dim=1, temperature=1.0)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("off", [1e-4, 1e-3, 1e-2, 1e-1, 1.0])
def test_float32_loses_nothing_but_the_logits_last_digits_near_the_teacher(dim: int, off: float) -> None:
    """The divergence is of second order: Var(u) / 2, of u = log q - log p.

    The rounding of log q (up to 15 here) is at most 8 units, that of u twice that: d = 16 units. sqrt(Var) is a norm,
    so that a row's value moves from v by at most sqrt(2 v) d + d^2 / 2.
    """
    teacher = maps(2, 19, 4096)
    student = (teacher + off * maps(2, 19, 4096, seed=1) + 7).float()  # an offset along the axis is not felt
    how = {"dim": dim, "temperature": 4.0}
    exact = plain(student.double(), teacher.float().double(), **how).item()  # type: ignore[arg-type]
    found = softmax_kl_sum(student, teacher.float(), **how).item()  # type: ignore[arg-type]
    rows, unit = student[:, :, 0].numel() if dim == 2 else student[:, 0].numel(), torch.finfo(torch.float32).eps / 2
    bound = (2 * exact * rows) ** 0.5 * 16 * unit + rows * (16 * unit) ** 2 / 2
    assert abs(found - exact) <= bound + 4 * unit * exact


@pytest.mark.parametrize("dim", [1, 2])
def test_where_one_logit_is_far_off_the_others_keep_more_digits_than_by_the_definition(dim: int) -> None:
    """The sum falls back on the first order, without the rounding of normalisers. Errors are means over draws."""
    errors = {softmax_kl_sum: 0.0, plain: 0.0}
    for seed in range(8):
        teacher = maps(2, 19, 4096, seed=seed).float()
        student = teacher + 0.01 * maps(2, 19, 4096, seed=seed + 8).float()
        student[0, 0, 0] += 3
        exact = plain(student.double(), teacher.double(), dim=dim, temperature=4.0).item()
        for divergence in errors:
            errors[divergence] += abs(divergence(student, teacher, dim=dim, temperature=4.0).item() - exact) / 8
    assert errors[softmax_kl_sum] <= errors[plain] / 2


def test_bfloat16_in_bfloat16_gradient_float32_value() -> None:
    student, teacher = maps(2, 5, 4, 6).bfloat16().requires_grad_(), maps(2, 5, 4, 6, seed=1).bfloat16()
    value = softmax_kl_sum(student, teacher, dim=1)
    value.backward()
    exact = student.detach().double().requires_grad_()
    plain(exact, teacher.double(), dim=1, temperature=1.0).backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close(student.grad.double(), exact.grad, rtol=0.01, atol=1e-4)


def test_a_second_backward_finds_the_same_gradient() -> None:
    student = maps(2, 5, 4, 6).requires_grad_()
    value = softmax_kl_sum(student, maps(2, 5, 4, 6, seed=1), dim=1) * 3
    first, second = (torch.autograd.grad(value, student, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_without_gradient_only_a_value() -> None:
    student, teacher = maps(2, 5, 4, 6), maps(2, 5, 4, 6, seed=1)
    value = softmax_kl_sum(student, teacher, dim=1)
    assert not value.requires_grad
    assert value.item() == pytest.approx(plain(student, teacher, dim=1, temperature=1.0).item())


def test_no_weight_at_all_is_exactly_zero() -> None:
    student = maps(2, 5, 4, 6).requires_grad_()
    value = softmax_kl_sum(student, maps(2, 5, 4, 6, seed=1), dim=1, weight=torch.zeros(2, 4, 6))
    value.backward()
    assert value.item() == 0
    assert not student.grad.any()
