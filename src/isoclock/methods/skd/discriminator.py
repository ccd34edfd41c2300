"""The discriminator of SKD: distinguishes a student's class scores from a teacher's (self-attention GAN, arXiv 1805.08318)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPSILON = 1e-12
SLOPE = 0.1
LAST_KERNEL = 4


class Discriminator(nn.Module):
    """Logits (B, K, h, w) -> one score per window, (B, 1, h / 16 - 3, w / 16 - 3).

    Batch norm, four spectrally normalised 4x4 convolutions of stride 2 (d, 2 d, 4 d, 8 d channels, d = `conv_dim`) with
    leaky ReLU, self-attention after the third and the fourth, and a 4x4 convolution. 3.2 M parameters at d = 64, K = 19.

    The published one accepts logits of 64x64 and more. For smaller logits, a map that is smaller than the kernel of the
    next layer is padded with zeros, below and to the right; there is then one window, which covers all logits.
    """

    def __init__(self, num_classes: int, conv_dim: int = 64) -> None:
        super().__init__()
        widths = [conv_dim * factor for factor in (1, 2, 4, 8)]
        self.input_bn = InputNorm(num_classes)
        self.l1 = _downsampling(num_classes, widths[0])
        self.l2 = _downsampling(widths[0], widths[1])
        self.l3 = _downsampling(widths[1], widths[2])
        self.attn1 = SelfAttention(widths[2])
        self.l4 = _downsampling(widths[2], widths[3])
        self.attn2 = SelfAttention(widths[3])
        self.last = nn.Sequential(nn.Conv2d(widths[3], 1, LAST_KERNEL))

    def forward(self, logits: Tensor) -> Tensor:
        """Scores; each call in training updates the batch norm's statistics and every layer's power iteration by one."""
        hidden = self.l3(self.l2(self.l1(self.input_bn(logits))))
        hidden = self.attn2(self.l4(self.attn1(hidden)))
        scores: Tensor = self.last(filled_up(hidden, LAST_KERNEL))
        return scores


class SelfAttention(nn.Module):
    """x + gamma V softmax(Q^T K)^T over positions; Q and K have an eighth of the C channels, gamma starts at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(channels, max(1, channels // 8), 1)
        self.key_conv = nn.Conv2d(channels, max(1, channels // 8), 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        query, key, value = (
            convolution(feature).flatten(2) for convolution in (self.query_conv, self.key_conv, self.value_conv)
        )
        attention = torch.bmm(query.transpose(1, 2), key).softmax(dim=2)
        gathered = torch.bmm(value, attention.transpose(1, 2)).view(feature.shape)
        return self.gamma * gathered + feature


class SpectralConv2d(nn.Conv2d):
    """A convolution with weight W / sigma, sigma = u . W v close to W's largest singular value, W (out, in * 4 * 4).

    Each call makes one power iteration, v from u and then u from v. They are constants for the gradient; sigma is not.
    Every call saves its own u and v for its backward pass. The published module changes them in place, so that a gradient
    computed after further calls belongs to another sigma than the loss (the golden file's `grad_deferred`); this is not
    reproduced.
    """

    u: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=4, stride=2, padding=1)
        self.register_buffer("u", F.normalize(torch.randn(out_channels), dim=0))

    def forward(self, feature: Tensor) -> Tensor:
        """(B, in, h, w) -> (B, out, h // 2, w // 2), 1 where that is 0."""
        with torch.autocast(feature.device.type, enabled=False):  # u is state, and keeps float32's digits
            weight = self._normalised()
        return F.conv2d(filled_up(feature, 2), weight, self.bias, self.stride, self.padding)

    def _normalised(self) -> Tensor:
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            v = _unit(torch.mv(matrix.t(), self.u))
            u = _unit(torch.mv(matrix, v))
            if self.training:
                self.u.copy_(u)
        return self.weight / torch.dot(u, torch.mv(matrix, v))


class InputNorm(nn.Module):
    """Batch norm; a single value per channel has no variance, so running statistics are used, and are not updated."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, logits: Tensor) -> Tensor:
        """(B, K, h, w) -> (B, K, h, w)."""
        several = logits.numel() > logits.shape[1]
        return F.batch_norm(
            logits, self.running_mean, self.running_var, self.weight, self.bias, training=self.training and several
        )


def _downsampling(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(SpectralConv2d(in_channels, out_channels), nn.LeakyReLU(SLOPE))


def _unit(vector: Tensor) -> Tensor:
    return vector / (vector.norm() + NORM_EPSILON)


def filled_up(feature: Tensor, side: int) -> Tensor:
    """The map, padded with zeros below and to the right to sides of at least `side`."""
    below, right = (max(0, side - length) for length in feature.shape[-2:])
    return F.pad(feature, (0, right, 0, below)) if below or right else feature
