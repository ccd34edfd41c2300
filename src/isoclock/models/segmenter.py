"""The contract of a segmentation network. A new architecture is one file here with one subclass of `Segmenter`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Set
from typing import ClassVar

from torch import Tensor, nn

from isoclock.models.outputs import LOGITS, OUTPUTS, ChannelSpec, SegmenterOutput


class Segmenter(nn.Module, ABC):
    """A network that gives logits and the taps `backbone` and `head`, and computes only what it is asked for.

    It is built as `Architecture(encoder, num_classes, head_channels, aux_channels, dropout)`; `encoder` is a module
    that maps (B, 3, H, W) to a list of stages, shallow to deep, and tells their channels in `out_channels`.
    """

    output_stride: ClassVar[int] = 8
    encoder: nn.Module
    channels: ChannelSpec
    num_classes: int

    @abstractmethod
    def forward(self, images: Tensor, want: Set[str] = frozenset({LOGITS})) -> SegmenterOutput:
        """Outputs named in `want` (a subset of OUTPUTS) for normalised images (B, 3, H, W), H and W multiples of 8."""


def check_wanted(want: Set[str]) -> None:
    """Raise ValueError if `want` names something that no segmenter gives."""
    if unknown := sorted(want - OUTPUTS):
        raise ValueError(f"a segmenter gives {sorted(OUTPUTS)}, not {unknown}")
