"""Projectors that lift a student's feature to its teacher's channels; the literature disagrees on the kind."""

from __future__ import annotations

from torch import nn


def build_projector(kind: str, student_channels: int, teacher_channels: int) -> nn.Module:
    """A 1x1 projector: "conv" (no bias, as in CIRKD), "conv-bn", or "conv-bn-relu" (as in TorchDistiller)."""
    convolution = nn.Conv2d(student_channels, teacher_channels, 1, bias=False)
    if kind == "conv":
        return convolution
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(teacher_channels)]
    if kind == "conv-bn-relu":
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
