"""Cross-entropy of upsampled logits: value and gradient in one pass, so that the full map is never held.

A Triton kernel computes it on GPUs of compute capability 8.0 or newer, see `has_kernel`. Everywhere else plain operators
compute it strip by strip.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from isoclock.labels import IGNORE
from isoclock.training.linear_axis import LinearAxis, Strip

_CPU_STRIP = 1 << 18  # elements, 1 MiB in float32: a strip stays in the second-level cache
_THREAD_STRIP = 1 << 20  # elements for each of several threads, which wait for each other after every operation
_DEVICE_STRIP = 1 << 26  # elements, 256 MiB in float32: an accelerator wants few launches
_GROUP = 1 << 24  # elements, 64 MiB in float32: of the images that are at work, enlarged along one axis
_LINE = 64  # elements: torch's vectors do badly along a shorter innermost axis
_KERNEL_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_KERNEL_CAPABILITY = (8, 0)  # compute capability: the kernel is compiled for 8.0 and 9.0 in tests
_TRITON = find_spec("triton") is not None  # comes with torch on Linux


class Labels:
    """What the task losses of all heads need of a batch's labels, computed once.

    `classes` (B, H, W) int64, 0 where ignored. `shares` (B, H, W): weight of a pixel over the summed weight, so that they
    add up to 1, or over a number of pixels; 0 where ignored, and everywhere if no pixel is labelled.
    """

    def __init__(self, target: Tensor, pixel_weight: Tensor, pixels: float | None = None) -> None:
        """`target` (B, H, W) int64, 255 where ignored; `pixel_weight` (256,): weight of a pixel by its label, 0 for 255.

        `pixels`: how many the loss is a mean over. None: the summed weight.
        """
        weights = pixel_weight.index_select(0, target.reshape(-1)).view(target.shape)
        least = torch.finfo(weights.dtype).tiny if pixels is None else pixels
        self.shares = weights.div_(weights.sum().clamp_(min=least, max=pixels))  # the same operators in both cases
        self.classes = target * (target != IGNORE)


def upsampled_cross_entropy(logits: Tensor, labels: Labels) -> Tensor:
    """Weighted mean over labelled pixels of the cross-entropy of logits (B, K, h, w) at the labels' size; 0 without any.

    Where `labels` have a number of pixels of their own, the sum over labelled pixels is divided by that.

    The same as `F.cross_entropy` of `F.interpolate(..., mode="bilinear", align_corners=False)` to rounding. Computed in
    float32, or in float64 if the logits are; neither waits for the device nor holds a map (B, K, H, W). A label that is
    neither a class nor 255 raises RuntimeError on a CPU, and makes the kernel's loss NaN.
    """
    wants_gradient = torch.is_grad_enabled() and logits.requires_grad
    value: Tensor = _UpsampledCrossEntropy.apply(logits, labels, wants_gradient)
    return value


def has_kernel(device: torch.device, dtype: torch.dtype, size: torch.Size, full: torch.Size) -> bool:
    """Whether the Triton kernel computes the loss of logits of `size` (h, w) with labels of `full` size (H, W).

    It needs a GPU of compute capability 8.0 or newer, the package triton, logits of 16 or 32 bits, and labels that are as
    large as the logits or up to 16 times as large a side.
    """
    if not (_TRITON and device.type == "cuda" and dtype in _KERNEL_DTYPES):
        return False
    from isoclock.training.triton_cross_entropy import fits

    return torch.cuda.get_device_capability(device) >= _KERNEL_CAPABILITY and fits(size, full)


class _UpsampledCrossEntropy(torch.autograd.Function):
    """The gradient is computed with the value, kept at the size and in the precision of the sweep, and scaled at backward."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Labels, wants_gradient: bool) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            kernel = has_kernel(logits.device, logits.dtype, logits.shape[2:], labels.classes.shape[1:])
            value, gradient = (_by_kernel if kernel else _sweep)(logits, labels, wants_gradient)
        ctx.save_for_backward(gradient)
        ctx.dtype = logits.dtype
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return torch.mul(gradient, upstream, out=torch.empty_like(gradient, dtype=ctx.dtype)), None, None


def _by_kernel(logits: Tensor, labels: Labels, wants_gradient: bool) -> tuple[Tensor, Tensor]:
    from isoclock.training.triton_cross_entropy import upsampled_cross_entropy as kernel

    value, gradient = kernel(logits, labels.classes, labels.shares.float(), wants_gradient)
    return value, gradient


def _sweep(logits: Tensor, labels: Labels, wants_gradient: bool) -> tuple[Tensor, Tensor | None]:
    """Value, and gradient in the logits' layout."""
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    full = labels.classes.shape[1:]
    rows, columns = (LinearAxis(*sizes, dtype, logits.device) for sizes in zip(logits.shape[2:], full, strict=True))
    value = torch.zeros((), dtype=torch.float64, device=logits.device)  # rounding of hundreds of strips would add up
    gradient = torch.empty_like(logits, dtype=dtype) if wants_gradient else None
    limit = _strip_limit(logits.device)
    images, classes = logits.shape[:2]
    line = classes * columns.full
    at_once = max(1, min(images, limit // (line * rows.most), _GROUP // (line * (rows.size + 2))))
    # Of a strip, and used again: fresh memory costs a CPU more than arithmetic.
    memory = torch.empty(0, dtype=dtype, device=logits.device)
    for first in range(0, images, at_once):
        group = slice(first, first + at_once)
        part = F.pad(logits[group].to(dtype), (1, 1, 1, 1), mode="replicate")
        wide = columns.enlarge_rows(part, limit)  # (b, K, h + 2, W)
        wide_gradient = torch.zeros_like(wide) if wants_gradient else None
        for strip, across in _strips(rows, columns.full, len(part) * classes, limit):
            place = (group, slice(strip[0].first, strip[-1].end), across)
            chosen, shares = labels.classes[place].unsqueeze(1), labels.shares[place].unsqueeze(1).to(dtype)
            size = classes * chosen.numel()
            if memory.numel() < size:
                memory = memory.new_empty(size)
            scores = memory[:size].view(len(part), classes, *chosen.shape[2:])
            rows.enlarge(wide[..., across], scores, strip)
            value += _strip_loss_(scores, chosen, shares, wants_gradient)
            if wide_gradient is not None:
                rows.reduce_(scores, wide_gradient[..., across], strip)
        if gradient is not None and wide_gradient is not None:
            gradient[group] = columns.reduce_rows(rows.fold_(wide_gradient), limit)
    return value.to(dtype), gradient


def _strip_limit(device: torch.device) -> int:
    """Elements of a strip."""
    if device.type != "cpu":
        return _DEVICE_STRIP
    threads = torch.get_num_threads()
    return _CPU_STRIP if threads == 1 else _THREAD_STRIP * threads


def _strip_loss_(scores: Tensor, chosen: Tensor, shares: Tensor, wants_gradient: bool) -> Tensor:
    """Summed loss of scores (b, K, r, c) for chosen classes and shares (b, 1, r, c); the gradient takes the scores' place."""
    of_chosen = scores.gather(1, chosen)
    top = scores.amax(1, keepdim=True)
    total = scores.sub_(top).exp_().sum(1, keepdim=True)
    value = total.log().add_(top.sub_(of_chosen)).mul_(shares).sum()
    if wants_gradient:
        scores.mul_(shares / total).scatter_add_(1, chosen, -shares)
    return value


def _strips(rows: LinearAxis, width: int, maps: int, limit: int) -> Iterator[tuple[Strip, slice]]:
    """Rows and columns of strips of up to `limit` elements; a strip of whole rows, if one cell of rows allows it."""
    parts = -(-maps * rows.most * width // limit)
    across = max(_LINE, -(-width // parts // _LINE) * _LINE)
    for strip in rows.strips(max(1, limit // (maps * width))):
        for left in range(0, width, across):
            yield strip, slice(left, min(width, left + across))
