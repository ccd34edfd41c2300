"""Projectors from the student's to the teacher's channels; the literature uses several kinds."""

from __future__ import annotations

from torch import nn


def build_projector(kind: str, student_channels: int, teacher_channels: int) -> nn.Module:
    """A 1x1 projector: "conv" (no bias, as in CIRKD), "conv-bias" (mmsegmentation's), "conv-bn", or "conv-bn-relu".

    The last is TorchDistiller's. A batch norm does not accept a single image of a single pixel.
    """
    convolution = nn.Conv2d(student_channels, teacher_channels, 1, bias=kind == "conv-bias")
    if kind in ("conv", "conv-bias"):
        return convolution
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(teacher_channels)]
    if kind == "conv-bn-relu":
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
