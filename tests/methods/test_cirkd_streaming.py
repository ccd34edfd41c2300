"""CIRKD's streamed parts against its loops: many tiles, any layout, rings that wrap, and images that overwrite others."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cirkd_rounding import alike_along_lines, check
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isoclock.methods.cirkd import memory, minibatch, streamed_pairs
from isoclock.methods.cirkd.bank import KEY_BITS, Pushes, Ring, enqueue_at_once, enqueue_by_loops


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(streamed_pairs.SIDE, "cpu", 16)
    monkeypatch.setitem(memory.BLOCK, "cpu", 368)


def maps(images: int, size: tuple[int, int], channels: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, channels, *size, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("images", "size"), [(1, (1, 1)), (1, (5, 7)), (2, (4, 9)), (3, (5, 5)), (20, (2, 3))])
def test_pairs_of_many_tiles(images: int, size: tuple[int, int], layout: torch.memory_format) -> None:
    teacher = maps(images, size, 6, 1).to(memory_format=layout)
    found = []
    for divergence in (minibatch.pairwise_divergence, minibatch.fast_pairwise_divergence):
        student = maps(images, size, 4, 0).to(memory_format=layout).requires_grad_()
        value = divergence(student, teacher, 0.1)
        found.append((value.detach(), *torch.autograd.grad(3 * value, student)))
    compare(*found)
    with torch.no_grad():
        assert_near(minibatch.fast_pairwise_divergence(student, teacher, 0.1), found[0][0])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("images", "size"), [(1, (1, 1)), (1, (5, 7)), (2, (4, 9)), (20, (2, 3))])
def test_keys_of_many_tiles(images: int, size: tuple[int, int], layout: torch.memory_format) -> None:
    teacher = maps(images, size, 6, 1).to(memory_format=layout)
    keys = [F.normalize(maps(1, (1, count), 6, count)[0, :, 0].t(), dim=1) for count in (23, 4)]
    valid = torch.rand(images, size[0] * size[1], generator=torch.Generator().manual_seed(3)) < 0.7
    found = []
    for divergence in (memory.divergence_from_keys, memory.streamed_divergence_from_keys):
        student = maps(images, size, 6, 0).to(memory_format=layout).requires_grad_()
        pixel, region = divergence(student, teacher, keys, valid, 0.1, 2.0)
        found.append((pixel.detach(), region.detach(), *torch.autograd.grad(2 * pixel + region, student)))
    compare(*found)


@pytest.mark.parametrize("tau", [0.03, 0.1])
@pytest.mark.parametrize("off", [0.0, 1e-6, 1e-5, 1e-4, 1e-3])
@pytest.mark.parametrize("term", ["pairs", "keys"])
def test_float32_loses_nothing_but_the_similarities_last_digits_near_the_teacher(
    term: str, off: float, tau: float
) -> None:
    """The divergence is of second order in u = S - T: Var(u) / 2, Var a mean over pixels of variances under softmax T.

    A similarity is a product of unit vectors over tau. Its rounding (half a unit for each of two normalisations and for
    the product) is at most 4 units over tau; u then errs by d = 8 units over tau. sqrt(Var) is a norm, so that the value
    moves from v by at most sqrt(2 v) d + d^2 / 2. Differences of sums of first order round by more, up to any value.
    """
    teacher = maps(3, (5, 7), 16, 1, torch.float32)
    student = teacher + off * maps(3, (5, 7), 16, 0, torch.float32)
    keys = [F.normalize(maps(1, (1, 90), 16, 2, torch.float32)[0, :, 0].t(), dim=1)]
    valid = torch.rand(3, 35, generator=torch.Generator().manual_seed(3)) < 0.7

    def value(dtype: torch.dtype, *, tuned: bool) -> float:
        pair = student.to(dtype), teacher.to(dtype)
        if term == "pairs":
            return (minibatch.fast_pairwise_divergence if tuned else minibatch.pairwise_divergence)(*pair, tau).item()
        divergence = memory.streamed_divergence_from_keys if tuned else memory.divergence_from_keys
        return divergence(*pair, [key.to(dtype) for key in keys], valid, tau, 1.0)[0].item()

    exact, unit = abs(value(torch.float64, tuned=False)), torch.finfo(torch.float32).eps / 2
    off_by = 8 * unit / tau
    bound = (2 * exact) ** 0.5 * off_by + off_by**2 / 2
    assert abs(value(torch.float32, tuned=True) - exact) <= bound + 4 * unit * exact


@pytest.mark.parametrize("term", ["pairs", "keys"])
def test_float32_of_opposite_features_at_the_least_temperatures_overflows_nowhere(term: str) -> None:
    """S and T differ by up to 133 there, whose exponential is beyond float32."""
    key = F.normalize(torch.randn(1, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=1)
    teacher = key[:, :, None, None] * torch.tensor([1.0, 1.0, -1.0, 1.0]) + 0.01 * maps(1, (1, 4), 6, 1)
    student = -key[:, :, None, None] + 0.01 * maps(1, (1, 4), 6, 2)
    found = []
    for dtype, tuned in ((torch.float64, False), (torch.float32, True)):
        leaf = student.to(dtype).requires_grad_()
        if term == "pairs":
            divergence = minibatch.fast_pairwise_divergence if tuned else minibatch.pairwise_divergence
            value = divergence(leaf, teacher.to(dtype), 0.03)
        else:
            keys = [torch.cat([key, -key, key.roll(1, 1)]).to(dtype)]
            by_keys = memory.streamed_divergence_from_keys if tuned else memory.divergence_from_keys
            value = by_keys(leaf, teacher.to(dtype), keys, torch.ones(1, 4, dtype=torch.bool), 0.03, 0.5)[0]
        found.append((value.detach().double(), *(part.double() for part in torch.autograd.grad(value, leaf))))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-5, atol=0)
    assert (found[1][1] - found[0][1]).norm() <= 1e-4 * found[0][1].norm()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_have_the_precision_and_layout_of_the_inputs(precision: torch.dtype) -> None:
    student = maps(2, (4, 9), 6, 0, precision).to(memory_format=torch.channels_last).requires_grad_()
    value = minibatch.fast_pairwise_divergence(student, maps(2, (4, 9), 6, 1, precision), 0.1)
    (gradient,) = torch.autograd.grad(value, student)
    assert value.dtype == torch.float32
    assert gradient.dtype == precision
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.bfloat16, 0.5), (torch.float16, 0.06)])
def test_short_products_cost_no_more_than_their_rounding(dtype: torch.dtype, limit: float) -> None:
    assert check(*alike_along_lines(), 0.3, dtype, "streamed") < limit


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_rings_get_the_same_pushes(data: st.DataObject) -> None:
    images, classes = data.draw(st.integers(1, 9), "images"), data.draw(st.sampled_from([2, 5, 150]), "classes")
    size = data.draw(st.integers(1, 5), "height"), data.draw(st.integers(1, 9), "width")
    slots, regions = data.draw(st.integers(1, 40), "slots"), data.draw(st.integers(1, 5), "regions")
    published = data.draw(st.booleans(), "published")
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 1000), "seed"))
    old = {
        "pixel": Ring(
            torch.randn(classes, slots, 3, generator=random, dtype=torch.float64),
            torch.randint(slots, (classes,), generator=random),
        ),
        "region": Ring(
            torch.randn(classes, regions, 3, generator=random, dtype=torch.float64),
            torch.randint(regions, (classes,), generator=random),
        ),
    }
    loops, at_once = ({name: Ring(*map(torch.clone, ring)) for name, ring in old.items()} for _ in range(2))
    for step in range(3):
        present = torch.randperm(classes, generator=random)[: 1 + step]
        labels = present[torch.randint(len(present), (images, size[0] * size[1]), generator=random)]
        labels[torch.rand(labels.shape, generator=random) < 0.2] = 255
        labels[torch.rand(images, generator=random) < 0.2] = 255
        keys = torch.randint(1 << KEY_BITS, labels.shape, generator=random)
        pushes = Pushes(maps(images, size, 3, step), labels, keys, 16, published)
        enqueue_by_loops(pushes, loops)
        enqueue_at_once(pushes, at_once)
        for name in loops:
            assert torch.equal(loops[name].ptr, at_once[name].ptr)
            assert_near(at_once[name].queue, loops[name].queue)


def compare(reference: tuple[Tensor, ...], tuned: tuple[Tensor, ...]) -> None:
    for ours, theirs in zip(tuned, reference, strict=True):
        assert_near(ours, theirs)


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)
