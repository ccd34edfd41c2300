from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_task_loss import pixel_weights, plain_task_loss
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from isoclock.runner.device import choose_device
from isoclock.training import task_loss
from isoclock.training.task_loss import Labels, upsampled_cross_entropy

WAITS = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "unique", "bincount", "equal.default")
EPS = torch.finfo(torch.float32).eps
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class Seen(TorchDispatchMode):
    """The operations that ran, those that wait for an accelerator, and the elements of the largest new tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.largest = 0, 0
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::")
        self.count += 1
        by_mask = name.startswith(("index.", "index_put")) and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if by_mask or name.startswith(WAITS):
            self.waits.append(name)
        out = func(*args, **(kwargs or {}))
        for made in (
            tensor for tensor in (out if isinstance(out, (tuple, list)) else (out,)) if torch.is_tensor(tensor)
        ):
            self.largest = max(self.largest, made.untyped_storage().size() // made.element_size())
        return out


def random_case(
    shape: tuple[int, ...], full: tuple[int, int], *, seed: int = 0, scale: float = 3.0, ignored: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Logits (B, K, h, w) float64, and labels (B, H, W) of which some are ignored."""
    random = torch.Generator().manual_seed(seed)
    target = torch.randint(0, shape[1], (shape[0], *full), generator=random)
    target[torch.rand(target.shape, generator=random) < ignored] = 255
    return scale * torch.randn(shape, generator=random, dtype=torch.float64), target


def ours(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return upsampled_cross_entropy(logits, Labels(target, pixel_weights(logits.shape[1], weights, dtype)))


def value_and_gradient(loss: Any, logits: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    leaf = logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value = loss(leaf, *rest)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


def off(found: Tensor, expected: Tensor) -> float:
    """Relative L2 distance."""
    return float((found.double() - expected.double()).norm() / expected.double().norm().clamp(min=1e-30))


sides = st.integers(1, 9)
full_sides = st.integers(1, 40)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    images=st.integers(1, 3),
    classes=st.integers(1, 7),
    size=st.tuples(sides, sides),
    full=st.tuples(full_sides, full_sides),
    dtype=st.sampled_from(DTYPES),
    channels_last=st.booleans(),
    weighted=st.booleans(),
    ignored=st.sampled_from((0.0, 0.3, 0.97)),
    limit=st.sampled_from((1, 300, 1 << 18)),
    seed=st.integers(0, 999),
)
def test_agrees_with_the_plain_loss_in_float64(
    images: int,
    classes: int,
    size: tuple[int, int],
    full: tuple[int, int],
    dtype: torch.dtype,
    channels_last: bool,
    weighted: bool,
    ignored: float,
    limit: int,
    seed: int,
) -> None:
    """Enlarged or reduced, in strips of any size. Only rounding to the dtype of the logits is not in the exact result."""
    logits, target = random_case((images, classes, *size), full, seed=seed, ignored=ignored)
    target[0] = 255 if images > 1 else target[0]  # an image without labels
    weights = torch.linspace(0.5, 2.0, classes, dtype=torch.float64) if weighted else None
    logits = logits.to(dtype)
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    exact, exact_gradient = value_and_gradient(plain_task_loss, logits.double(), target, weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_loss, "_strip_limit", lambda _device: limit)
        value, gradient = value_and_gradient(ours, logits, target, weights)
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert gradient.dtype == dtype
    assert gradient.stride() == torch.empty_like(logits).stride()
    # Logits reach about 12, so that scores, their differences and logarithms are rounded by 12 eps at the most.
    unit = torch.finfo(value.dtype).eps
    assert abs(value.double() - exact) <= 16 * unit * max(1.0, float(exact))
    # bfloat16 and float16 round the gradient once; float16 has nothing below 6e-8.
    assert (gradient.double() - exact_gradient).norm() <= (
        (32 * unit + torch.finfo(dtype).eps) * exact_gradient.norm()
        + (1e-7 * exact_gradient.numel() ** 0.5 if dtype == torch.float16 else 0)
        + 32 * unit / full[0] / full[1]
    )


@pytest.mark.parametrize(
    ("shape", "full"), [((2, 19, 16, 32), (128, 256)), ((1, 150, 16, 16), (128, 128)), ((2, 11, 17, 23), (129, 180))]
)
def test_float32_is_as_exact_as_the_plain_loss(shape: tuple[int, ...], full: tuple[int, int]) -> None:
    logits, target = random_case(shape, full)
    exact, exact_gradient = value_and_gradient(plain_task_loss, logits.float().double(), target)
    value, gradient = value_and_gradient(ours, logits.float(), target)
    assert abs(float(value) / float(exact) - 1) <= 3 * EPS  # of means over 10^4 pixels, whose roundings cancel
    # Eight roundings an element (scores, exponent, exp, sum, share, two weights, sum) of half a unit each.
    assert off(gradient, exact_gradient) <= 8 * EPS / 2


def test_gradcheck() -> None:
    logits, target = random_case((2, 3, 3, 4), (7, 9))
    weights = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda leaf: ours(leaf, target, weights), logits.requires_grad_())


@pytest.mark.parametrize("scale", [50.0, 1000.0])
def test_large_logits_stay_exact(scale: float) -> None:
    """Also where neighbours disagree by far more than the exponent's range."""
    logits, target = random_case((2, 5, 4, 6), (32, 48), scale=scale)
    exact, exact_gradient = value_and_gradient(plain_task_loss, logits.float().double(), target)
    value, gradient = value_and_gradient(ours, logits.float(), target)
    assert off(value, exact) <= 3 * EPS
    assert off(gradient, exact_gradient) <= 4 * scale * EPS  # an exponent is rounded by its own size


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_batch_without_labels_is_exactly_nothing(dtype: torch.dtype) -> None:
    logits = random_case((2, 5, 4, 6), (32, 48))[0].to(dtype)
    value, gradient = value_and_gradient(ours, logits, torch.full((2, 32, 48), 255))
    assert value == 0
    assert not gradient.any()


def test_what_lies_under_ignored_pixels_does_not_count() -> None:
    logits, target = random_case((2, 5, 4, 6), (32, 48))
    target[1] = 255
    other = logits.clone()
    other[1] *= -2
    value, gradient = value_and_gradient(ours, logits.float(), target)
    assert torch.equal(value, ours(other.float(), target))
    assert not gradient[1].any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_divergence_is_seen(bad: float) -> None:
    logits, target = random_case((2, 5, 4, 6), (32, 48), ignored=0.0)
    logits[1, 2, 3, 4] = bad
    for loss in (plain_task_loss, ours):
        assert not loss(logits.float(), target).isfinite()


@pytest.mark.skipif(choose_device().type == "cuda", reason="a failed assertion on the device ends its use")
def test_a_label_that_is_no_class_is_an_error() -> None:
    logits, target = random_case((1, 5, 4, 6), (32, 48))
    target[0, 7, 9] = 5
    with pytest.raises(RuntimeError, match="out of bounds"):
        ours(logits, target)


def test_a_second_backward_finds_the_same_gradient() -> None:
    logits, target = random_case((2, 5, 4, 6), (32, 48))
    value = 3 * ours(logits.requires_grad_(), target)
    first, second = (torch.autograd.grad(value, logits, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert off(first, 3 * value_and_gradient(ours, logits, target)[1]) < 1e-15


def test_a_small_gradient_is_scaled_before_it_is_rounded() -> None:
    """As loss scaling in float16 needs it."""
    logits, target = random_case((1, 5, 4, 6), (512, 512))
    half = logits.half()
    exact = value_and_gradient(plain_task_loss, half.double(), target)[1] * 1e-5
    leaf = half.requires_grad_()
    found = torch.autograd.grad(ours(leaf, target) * 1e-5 * 2.0**16, leaf)[0]
    assert off(found.double() / 2.0**16, exact) <= torch.finfo(torch.float16).eps


def test_autocast_changes_nothing() -> None:
    logits, target = random_case((2, 5, 4, 6), (32, 48))
    plain = value_and_gradient(ours, logits.float(), target)
    with torch.autocast(choose_device().type, torch.bfloat16):
        cast = value_and_gradient(ours, logits.float(), target)
    assert all(torch.equal(a, b) for a, b in zip(plain, cast, strict=True))


def test_without_gradient_only_a_value_for_less() -> None:
    logits, target = random_case((2, 5, 4, 6), (32, 48))
    with Seen() as both:
        value, _ = value_and_gradient(ours, logits, target)
    with torch.no_grad(), Seen() as alone:
        again = ours(logits.requires_grad_(), target)
    assert torch.equal(again, value)
    assert alone.count < both.count / 1.5


def test_the_same_bits_every_time() -> None:
    logits, target = random_case((2, 19, 16, 32), (128, 256))
    first, second = (value_and_gradient(ours, logits.bfloat16(), target) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_upsampled_map_is_never_held_and_the_device_never_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_loss, "_strip_limit", lambda _device: task_loss._CPU_STRIP)  # however many threads
    logits, target = random_case((2, 24, 32, 32), (256, 256))
    full = logits.shape[1] * target.numel()
    with Seen() as plain:
        value_and_gradient(plain_task_loss, logits.float(), target)
    with Seen() as seen:
        value_and_gradient(ours, logits.float(), target)
    assert plain.largest == full
    # The logits at the full width alone, with a row more at either end; strips are smaller.
    assert seen.largest == full * 34 / 256 > task_loss._CPU_STRIP
    assert not seen.waits


def test_it_counts_as_no_products() -> None:
    """Profiles count products and convolutions; the loss has none, as the plain one has none."""
    logits, target = random_case((2, 5, 4, 6), (32, 48))
    with FlopCounterMode(display=False) as counter:
        value_and_gradient(ours, logits.float(), target)
    assert counter.get_total_flops() == 0


def test_many_images_are_not_all_enlarged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_loss, "_GROUP", 1)
    logits, target = random_case((4, 5, 8, 8), (64, 64))
    with Seen() as seen:
        value, _ = value_and_gradient(ours, logits, target)
    assert seen.largest == max(5 * 64 * 64, 4 * 64 * 64)  # a strip of one image; or the labels
    assert off(value, plain_task_loss(logits, target)) < 1e-14


def test_launches_do_not_grow_with_classes_nor_size_where_strips_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_loss, "_strip_limit", lambda _device: task_loss._DEVICE_STRIP)
    counts = []
    for classes, size in ((3, 4), (30, 16)):
        logits, target = random_case((2, classes, size, size), (8 * size, 8 * size))
        with Seen() as seen:
            value_and_gradient(ours, logits.float(), target)
        counts.append(seen.count)
    assert counts[0] == counts[1]
