"""Squared errors between a projected feature and a teacher's, streamed: neither projected map nor difference is stored.

A projected map has the teacher's channels, 33 MB an image pair at 512 x 64 x 128, and a plain implementation writes and
reads it five to ten times. Here it is computed a block at a time, with loss and gradients while the block is in the
cache. What is saved for the backward pass has the size of the student's feature and of the projector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from isoclock.kernels.normalising import LEAST_DEVIATION, LEAST_NORM
from isoclock.kernels.precision import in_loss_precision

BlockLoss = Callable[[Tensor, Tensor], Tensor]
"""(found, expected), both (b, c, n), to the block's loss; overwrites `found` with the gradient of the loss."""

_CPU_BLOCK, _DEVICE_BLOCK = 1 << 18, 1 << 26  # elements: what stays in a core's cache; what fills an accelerator


def half_squared_error(found: Tensor, expected: Tensor) -> Tensor:
    """1/2 sum of (found - expected)^2 over maps (B, C, h, w)."""
    return streamed(nn.Identity(), found, expected, half_squares)


def streamed(
    projector: nn.Module,
    feature: Tensor,
    target: Tensor,
    loss: BlockLoss,
    *,
    whole_channels: bool = False,
    merge_images: bool = True,
) -> Tensor:
    """Sum of `loss` over blocks of (P f, target): f (B, C_S, h, w), target (B, C_T, h, w), P of `build_projector`.

    A block has all channels of some pixels, or, for losses that need a channel's statistics, all pixels of some
    channels. `merge_images` is False for a loss that must not treat several images as one. The scalar is float32, or float64
    where the inputs are. Under autocast the projector is left to autocast: the same shortened product as reference's.
    """
    layers = list(projector) if isinstance(projector, nn.Sequential) else [projector]
    weight = bias = scale = shift = norm = None
    # A batch norm needs whole channels, a loss of pixels all channels: the two cannot share a block.
    streams = len(layers) == 1 or whole_channels or loss is half_squares
    if not isinstance(layers[0], nn.Conv2d) or not streams or torch.is_autocast_enabled(feature.device.type):
        feature = projector(feature)
    else:
        weight, bias = layers[0].weight.flatten(1), layers[0].bias
        if len(layers) > 1:
            assert isinstance(layers[1], nn.BatchNorm2d)
            scale, shift, whole_channels = layers[1].weight, layers[1].bias, True
            norm = _BatchNorm(layers[1], loss, relu=len(layers) > 2)
    given = (_dense(feature), weight, bias, scale, shift, _dense(target))
    total: Tensor = _Streamed.apply(*given, norm or loss, whole_channels, merge_images)
    return total


def half_squares(found: Tensor, expected: Tensor) -> Tensor:
    """1/2 sum of (found - expected)^2."""
    return _half_square_sum(found.sub_(expected))


def half_unit_squares(found: Tensor, expected: Tensor, *, dim: int, centred: bool = False) -> Tensor:
    """1/2 sum of (u - v)^2, u and v the vectors of both along `dim` over their lengths: sum of 1 - cos(found, expected).

    The difference of the unit vectors keeps the digits that 1 - cos loses for nearly equal directions.
    """
    if centred:
        found.sub_(found.mean(dim, keepdim=True))
        expected = expected - expected.mean(dim, keepdim=True, dtype=found.dtype)
    length = torch.linalg.vector_norm(found, dim=dim, keepdim=True)
    theirs = torch.linalg.vector_norm(expected, dim=dim, keepdim=True, dtype=found.dtype).clamp_min_(LEAST_NORM)
    long_enough = (length > LEAST_NORM).to(found.dtype)
    length.clamp_min_(LEAST_NORM)
    unit = found / length
    torch.addcdiv(unit, expected.to(found.dtype), theirs, value=-1, out=found)
    value = _half_square_sum(found)
    # Only the direction counts: the part of the gradient along the vector is removed.
    found.addcmul_(unit, (found * unit).sum(dim, keepdim=True).mul_(long_enough), value=-1).div_(length)
    if centred:
        found.sub_(found.mean(dim, keepdim=True))
    return value


def half_standard_squares(found: Tensor, expected: Tensor) -> Tensor:
    """1/2 sum of (s - t)^2, s and t both with every channel at mean 0 and deviation 1 over images and pixels.

    The deviation is the unbiased one plus `LEAST_DEVIATION`.
    """
    degrees = max(1, found.shape[0] * found.shape[2] - 1)
    deviation = _standardise(found, degrees)
    theirs = expected.to(found.dtype, copy=True)
    _standardise(theirs, degrees)
    standard = found.clone()
    value = _half_square_sum(found.sub_(theirs))
    along = (found * standard).sum((0, 2), keepdim=True).div_(degrees)
    # d deviation / d found is 0, not 0 / 0, in a channel that never changes.
    along = torch.where(deviation > 0, along * (deviation + LEAST_DEVIATION) / deviation, torch.zeros_like(along))
    found.addcmul_(standard, along, value=-1)
    found.sub_(found.mean((0, 2), keepdim=True)).div_(deviation + LEAST_DEVIATION)
    return value


def _standardise(block: Tensor, degrees: int) -> Tensor:
    """Standardises each channel of (b, c, n) in place; returns the deviations (1, c, 1)."""
    block.sub_(block.mean((0, 2), keepdim=True))
    deviation = block.square().sum((0, 2), keepdim=True).div_(degrees).sqrt_()
    block.div_(deviation + LEAST_DEVIATION)
    return deviation


def _half_square_sum(values: Tensor) -> Tensor:
    return values.square().sum().mul_(0.5)


class _BatchNorm:
    """A batch norm, and a ReLU, between a projection and its loss: forward and backward on `channels`, in place."""

    def __init__(self, layer: nn.BatchNorm2d, loss: BlockLoss, *, relu: bool) -> None:
        self.layer, self.loss, self.relu = layer, loss, relu
        self.scale_gradient, self.shift_gradient = torch.zeros_like(layer.weight), torch.zeros_like(layer.bias)
        self.channels = slice(None)
        if layer.training and layer.num_batches_tracked is not None:
            layer.num_batches_tracked.add_(1)

    def __call__(self, found: Tensor, expected: Tensor) -> Tensor:
        layer, channels, count = self.layer, self.channels, found.shape[0] * found.shape[2]
        assert layer.running_mean is not None
        assert layer.running_var is not None
        assert layer.momentum is not None
        mean, variance = layer.running_mean[channels], layer.running_var[channels]
        if layer.training:
            if count == 1:  # as torch's own
                raise ValueError("a batch norm in training needs more than one image or pixel")
            own_mean = found.mean((0, 2))
            mean.lerp_(own_mean, layer.momentum)
            own_variance = found.sub_(own_mean[:, None]).square().mean((0, 2))
            variance.lerp_(own_variance * (count / (count - 1)), layer.momentum)
            variance = own_variance
        else:
            found.sub_(mean[:, None])
        inverse = (variance + layer.eps).rsqrt_()
        standard = found.mul_(inverse[:, None]).clone()
        scale, shift = layer.weight[channels], layer.bias[channels]
        found.mul_(scale[:, None]).add_(shift[:, None])
        passed = found.clamp_min_(0) > 0 if self.relu else None
        value = self.loss(found, expected)
        if passed is not None:
            found.mul_(passed)
        self.shift_gradient[channels] = along_shift = found.sum((0, 2))
        self.scale_gradient[channels] = along_scale = (found * standard).sum((0, 2))
        if layer.training:
            found.addcmul_(standard, along_scale[:, None], value=-1 / count).sub_(along_shift[:, None] / count)
        found.mul_((scale * inverse)[:, None])
        return value


class _Streamed(torch.autograd.Function):
    """Computes loss and gradients in the forward pass, block by block; the backward pass only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        feature: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        scale: Tensor | None,  # noqa: ARG004 - the batch norm's, which are here to be given their gradients
        shift: Tensor | None,  # noqa: ARG004
        target: Tensor,
        loss: BlockLoss | _BatchNorm,
        whole_channels: bool,
        merge_images: bool,
    ) -> Tensor:
        ours, theirs = _matrices(feature, target, merge_images)
        precision = in_loss_precision(feature[:0]).dtype
        wanted = ctx.needs_input_grad
        gradient = torch.empty_like(feature) if wanted[0] else None
        weight_gradient = torch.zeros_like(weight) if weight is not None and wanted[1] else None
        bias_gradient = torch.zeros_like(bias) if bias is not None and wanted[2] else None
        into = None if gradient is None else _matrices(gradient, target, merge_images)[0]
        by_pixel = _pixels_outermost(theirs)
        total = torch.zeros((), dtype=precision, device=feature.device)
        for images, channels, pixels in _blocks(theirs, whole_channels):
            part = ours[images, :, pixels]
            expected = theirs[images, channels, pixels]
            if weight is None:
                found = part[:, channels].to(precision, copy=True)
            else:
                rows = weight[channels].expand(len(part), -1, -1)
                found = torch.bmm(part.mT, rows.mT).mT if by_pixel else torch.bmm(rows, part)
            if bias is not None:
                found.add_(bias[channels, None])
            if isinstance(loss, _BatchNorm):
                loss.channels = channels
            total += loss(found, expected)
            if bias_gradient is not None:
                bias_gradient[channels] += found.sum((0, 2))
            if weight_gradient is not None:
                weight_gradient[channels].addbmm_(found, part.mT)
            if into is not None and weight is None:
                into[images, channels, pixels] = found
            elif into is not None:
                block = into[images, :, pixels]
                first = 0.0 if channels.start == 0 else 1.0  # later channels add to what the first ones left
                if by_pixel:
                    block.mT.baddbmm_(found.mT, rows, beta=first)
                else:
                    block.baddbmm_(rows.mT, found, beta=first)
        around = (loss.scale_gradient, loss.shift_gradient) if isinstance(loss, _BatchNorm) else (None, None)
        ctx.save_for_backward(gradient, weight_gradient, bias_gradient, *around)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [None if kept is None else kept * outer.to(kept.dtype) for kept in ctx.saved_tensors]
        return (*scaled, None, None, None, None)


def _dense(one: Tensor) -> Tensor:
    """The tensor itself if its channels are first or last in memory, else a copy."""
    return one if one.is_contiguous(memory_format=torch.channels_last) else one.contiguous()


def _matrices(feature: Tensor, target: Tensor, merge: bool) -> tuple[Tensor, Tensor]:
    """Both as (images, channels, pixels); all images are one where both keep a pixel's channels together."""
    if merge and all(
        one.is_contiguous(memory_format=torch.channels_last) and one.shape[1] > 1 for one in (feature, target)
    ):
        ours, theirs = (one.permute(1, 0, 2, 3).flatten(1)[None] for one in (feature, target))
        return ours, theirs
    return feature.flatten(2), target.flatten(2)


def _pixels_outermost(matrices: Tensor) -> bool:
    return matrices.stride(1) == 1 and matrices.shape[1] > 1


def _blocks(matrices: Tensor, whole_channels: bool) -> Iterator[tuple[slice, slice, slice]]:
    """Slices (images, channels, pixels) that cover (b, c, n) in blocks of a size that suits the device."""
    images, channels, pixels = matrices.shape
    whole = slice(0, None)
    if whole_channels:
        # Each block reads all of the student's feature again, so a few times the cache is the better size.
        step = max(8, 4 * block_elements(matrices.device) // max(1, images * pixels))
        for start in range(0, channels, step):
            yield whole, slice(start, start + step), whole
        return
    size = max(1, block_elements(matrices.device) // channels)
    together = max(1, size // pixels)
    for first in range(0, images, together):
        for start in range(0, pixels, size):
            yield slice(first, first + together), whole, slice(start, start + size)


def block_elements(device: torch.device) -> int:
    """How many elements a block should have: as many as stay in the cores' caches, or fill an accelerator."""
    return _CPU_BLOCK * torch.get_num_threads() if device.type == "cpu" else _DEVICE_BLOCK
