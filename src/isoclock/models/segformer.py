"""SegFormer: hierarchical transformer encoder (MiT) and a head of linear layers, the network of transformers."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.models.hub import HubSegmenter, build_network
from isoclock.models.outputs import BACKBONE, HEAD, LOGITS, ChannelSpec, SegmenterOutput
from isoclock.models.segmenter import Segmenter

_LARGE = (64, 128, 320, 512)
SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "b0": ((2, 2, 2, 2), (32, 64, 160, 256), 256),
    "b1": ((2, 2, 2, 2), _LARGE, 256),
    "b2": ((3, 4, 6, 3), _LARGE, 768),
    "b3": ((3, 4, 18, 3), _LARGE, 768),
    "b4": ((3, 8, 27, 3), _LARGE, 768),
    "b5": ((3, 6, 40, 3), _LARGE, 768),
    "micro": ((1, 1, 1, 1), (8, 16, 40, 64), 16),  # ours, for tests
}
"""Layers and channels of each stage, channels of the head."""


class SegFormer(HubSegmenter, Segmenter):
    """SegFormer, Xie et al. 2021 (arXiv 2105.15203); b0 to b5, with logits at stride 4.

    Taps: `backbone` is the last stage at stride 32, `stage1` to `stage3` those before it, and `head` is the fused map at
    stride 4, before dropout.

    The published training uses AdamW with a learning rate of its own for the head; here it is the recipe's SGD.
    """

    params = {"size": {"type": "choice", "of": ("b0", "b1", "b2", "b3", "b4", "b5", "micro")}}
    imagenet = {
        "size": {
            "b0": "nvidia/mit-b0",
            "b1": "nvidia/mit-b1",
            "b2": "nvidia/mit-b2",
            "b3": "nvidia/mit-b3",
            "b4": "nvidia/mit-b4",
            "b5": "nvidia/mit-b5",
        }
    }
    output_stride = 4
    taps = {"stage1": 4, "stage2": 8, "stage3": 16, "backbone": 32, "head": 4}

    def __init__(self, num_classes: int, *, size: str, weights: str | Path | None = None) -> None:
        super().__init__()
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        depths, widths, head = SIZES[size]
        config = SegformerConfig(  # type: ignore[call-arg]  # num_labels is one of the settings that every network takes
            depths=list(depths), hidden_sizes=list(widths), decoder_hidden_size=head, num_labels=num_classes
        )
        self.network, self.weights_file = build_network(
            SegformerForSemanticSegmentation, config, weights, "segformer", "segformer", size=size
        )
        further = {f"stage{number}": width for number, width in enumerate(widths[:-1], start=1)}
        self.channels = ChannelSpec(backbone=widths[-1], head=head, further=further)
        self.num_classes = num_classes

    def forward(self, images: Tensor, want: Set[str] = frozenset({LOGITS})) -> SegmenterOutput:
        """Outputs named in `want`; the head runs only if an output of it is wanted."""
        self.check_wanted(want)
        stages = [images]
        for stage in self.network.segformer.stages:
            stages.append(stage(stages[-1]))
        found: dict[str, Any] = {f"stage{number}": stages[number] for number in (1, 2, 3)} | {BACKBONE: stages[-1]}
        logits = None
        if want & {HEAD, LOGITS}:
            decoder = self.network.decode_head
            found[HEAD] = _fused(decoder, stages[1:])
            logits = decoder.classifier(decoder.dropout(found[HEAD])) if LOGITS in want else None
        return SegmenterOutput(logits, None, {name: found[name] for name in want & self.taps.keys()})


def _fused(decoder: Any, stages: list[Tensor]) -> Tensor:
    """What `SegformerDecodeHead` computes before its dropout: it returns logits alone, so that its layers are called here."""
    maps = []
    for stage, projection in zip(stages, decoder.linear_projections, strict=True):
        projected = projection(stage).transpose(1, 2).unflatten(2, stage.shape[-2:])
        maps.append(F.interpolate(projected, stages[0].shape[-2:], mode="bilinear", align_corners=False))
    fused: Tensor = decoder.activation(decoder.batch_norm(decoder.linear_fuse(torch.cat(maps[::-1], dim=1))))
    return fused
