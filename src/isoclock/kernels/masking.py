"""Masks of pixels, and a 3x3 convolution of an aligned and masked feature as a single convolution of the student's channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNEL_MULTIPLE = 8
"""Tensor cores take channels in multiples of this."""


def pixel_uniforms(feature: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 1, h, w) float32 in [0, 1), for a feature (B, C, h, w): a pixel is masked where its number is large."""
    return torch.rand((len(feature), 1, *feature.shape[-2:]), generator=generator, device=feature.device)


def masked_first_convolution(align: nn.Module, first: nn.Module, feature: Tensor, kept: Tensor) -> Tensor:
    """conv(M * (A f + a)) = conv'([M * f; M]) for f (B, C_S, h, w), M (B, 1, h, w): (B, K, h, w).

    A mask commutes with a 1x1 convolution, so both fold into one 3x3 kernel from C_S + 1 channels instead of C_T; the
    mask as a channel carries the bias a, which must not appear in masked pixels nor in the zeros beyond the border.
    Channels of zeros follow it up to a multiple of `CHANNEL_MULTIPLE`. Without an alignment to more channels than that
    nothing is folded.
    """
    assert isinstance(first, nn.Conv2d)
    unused = -(feature.shape[1] + 1) % CHANNEL_MULTIPLE
    if not isinstance(align, nn.Conv2d) or feature.shape[1] + 1 + unused >= align.out_channels:
        aligned: Tensor = align(feature)
        return F.conv2d(aligned * kept.to(aligned.dtype), first.weight, first.bias, padding=1)
    assert align.bias is not None
    inner = F.pad(torch.cat([align.weight.flatten(1), align.bias[:, None]], dim=1), (0, unused))
    composed = torch.einsum("kcyx,cs->ksyx", first.weight, inner).contiguous()  # (K, C_S + 1 + unused, 3, 3)
    mask = kept.to(feature.dtype)
    masked = torch.cat([feature * mask, F.pad(mask, (0, 0, 0, 0, 0, unused))], dim=1)
    return F.conv2d(masked, composed, first.bias, padding=1)
