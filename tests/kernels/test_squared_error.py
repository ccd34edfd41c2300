import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from isoclock.kernels import squared_error
from isoclock.kernels.normalising import standardised
from isoclock.kernels.projector import build_projector
from isoclock.kernels.squared_error import (
    half_squared_error,
    half_squares,
    half_standard_squares,
    half_unit_squares,
    streamed,
)

LOSSES = {
    "squares": (half_squares, {}, lambda one: one),
    "standard": (half_standard_squares, {"whole_channels": True}, standardised),
    "pixels": (partial(half_unit_squares, dim=1), {}, partial(F.normalize, dim=1)),
    "channels": (
        partial(half_unit_squares, dim=2),
        {"whole_channels": True, "merge_images": False},
        lambda one: F.normalize(one.flatten(2), dim=2),
    ),
}


def _layout(name: str, *shape: int, seed: int) -> torch.Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if name == "transposed":
        return values.transpose(2, 3)
    return values.contiguous(memory_format=torch.channels_last if name == "last" else torch.contiguous_format)


@pytest.mark.parametrize("block", [64, 1 << 18])
@pytest.mark.parametrize("layouts", [("first", "first"), ("last", "last"), ("first", "last"), ("transposed", "first")])
@pytest.mark.parametrize("kind", ["conv", "conv-bias", "conv-bn", "conv-bn-relu"])
@pytest.mark.parametrize("loss", LOSSES)
def test_blocks_of_any_size_and_layout_sum_to_the_whole(
    loss: str, kind: str, layouts: tuple[str, str], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squared_error, "_CPU_BLOCK", block)
    by_block, blocks, normalise = LOSSES[loss]
    feature, target = _layout(layouts[0], 2, 5, 6, 6, seed=1).requires_grad_(), _layout(layouts[1], 2, 40, 6, 6, seed=2)
    torch.manual_seed(0)
    projector = build_projector(kind, 5, 40).double()
    results = []
    for by_blocks in (False, True):
        copied = copy.deepcopy(projector)
        if by_blocks:
            value = streamed(copied, feature, target, by_block, **blocks)
        else:
            value = 0.5 * (normalise(copied(feature)) - normalise(target)).square().sum()
        gradients = torch.autograd.grad(3 * value, [feature, *copied.parameters()])
        results.append([value.detach(), *gradients, *copied.buffers()])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_a_batch_norm_in_evaluation_uses_its_running_figures() -> None:
    feature, target = _layout("first", 2, 5, 3, 3, seed=1), _layout("first", 2, 7, 3, 3, seed=2)
    projector = build_projector("conv-bn", 5, 7).double()
    projector(feature)
    projector.eval()
    before = {name: value.clone() for name, value in projector.state_dict().items()}
    expected = 0.5 * (projector(feature) - target).square().sum()
    torch.testing.assert_close(streamed(projector, feature, target, half_squares), expected)
    assert all(torch.equal(value, before[name]) for name, value in projector.state_dict().items())


def test_what_wants_no_gradient_gets_none() -> None:
    feature, target = _layout("first", 1, 5, 3, 3, seed=1), _layout("first", 1, 7, 3, 3, seed=2)
    projector = build_projector("conv", 5, 7).double()
    streamed(projector, feature, target, half_squares).backward()
    assert feature.grad is None
    assert projector.weight.grad is not None
    assert not half_squared_error(target, target).requires_grad
