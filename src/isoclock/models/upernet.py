"""UPerNet with a Swin encoder, the network of transformers."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.errors import ParamsError
from isoclock.models.hub import HubSegmenter, build_network, swin_config, without_final_norm
from isoclock.models.outputs import AUX_LOGITS, BACKBONE, HEAD, LOGITS, ChannelSpec, SegmenterOutput
from isoclock.models.segmenter import Segmenter


class UPerNetSwin(HubSegmenter, Segmenter):
    """UPerNet, Xiao et al. 2018 (arXiv 1807.10221), on Swin (arXiv 2103.14030): pyramid pooling and a feature pyramid.

    Logits at stride 4; the auxiliary head, an FCN on Swin's third stage, has stride 16. Taps: `backbone` is the last stage,
    `head` the fused map at stride 4, the classifier's input. The published training uses AdamW; here it is the recipe's SGD.
    """

    params = {
        # models/hub.py: SWIN
        "swin": {"type": "choice", "of": ("micro", "tiny", "small", "base", "base-384", "large")},
        "channels": {"type": "integer", "at_least": 1, "default": 512},
        "aux_channels": {"type": "integer", "at_least": 1, "default": 256},
    }
    imagenet = {
        "swin": {
            "tiny": "microsoft/swin-tiny-patch4-window7-224",
            "small": "microsoft/swin-small-patch4-window7-224",
            "base": "microsoft/swin-base-patch4-window7-224",
            "base-384": "microsoft/swin-base-patch4-window12-384-in22k",
            "large": "microsoft/swin-large-patch4-window12-384-in22k",
        }
    }
    output_stride = 4
    taps = {"backbone": 32, "head": 4}
    auxiliary_head = True
    auxiliary_stride = 16

    def __init__(
        self, num_classes: int, *, swin: str, channels: int, aux_channels: int, weights: str | Path | None = None
    ) -> None:
        super().__init__()
        from transformers import UperNetConfig, UperNetForSemanticSegmentation

        config = UperNetConfig(  # type: ignore[call-arg]  # num_labels is one of the settings that every network takes
            backbone_config=swin_config(swin),
            hidden_size=channels,
            auxiliary_channels=aux_channels,
            num_labels=num_classes,
        )
        self.network, self.weights_file = build_network(
            UperNetForSemanticSegmentation, config, weights, "upernet", "swin", swin=swin
        )
        without_final_norm(self.network.backbone)
        self.channels = ChannelSpec(backbone=self.network.backbone.channels[-1], head=channels)
        self.num_classes = num_classes

    def forward(self, images: Tensor, want: Set[str] = frozenset({LOGITS})) -> SegmenterOutput:
        """Outputs named in `want`; a head runs only if an output of it is wanted.

        Raises ParamsError for a training batch of one image if the head is wanted, as PSPNet does: its 1x1 pool.
        """
        self.check_wanted(want)
        stages = self.network.backbone(images).feature_maps
        found = {BACKBONE: stages[-1]}
        logits = None
        if want & {HEAD, LOGITS}:
            if self.training and len(images) == 1:
                raise ParamsError(
                    "batch: 1: the 1x1 pool of UPerNet cannot be batch-normalised; train with 2 images or more"
                )
            found[HEAD] = _fused(self.network.decode_head, stages)
            logits = self.network.decode_head.classifier(found[HEAD]) if LOGITS in want else None
        aux_logits = self.network.auxiliary_head(stages) if AUX_LOGITS in want else None
        return SegmenterOutput(logits, aux_logits, {name: found[name] for name in want & self.taps.keys()})


def _fused(head: Any, stages: tuple[Tensor, ...]) -> Tensor:
    """The input of `UperNetHead`'s classifier; its own forward returns class scores alone, so that its layers are called here."""
    laterals = [lateral(stage) for lateral, stage in zip(head.lateral_convs, stages, strict=False)]
    laterals.append(head.psp_forward(stages))
    for level in range(len(laterals) - 1, 0, -1):
        laterals[level - 1] = laterals[level - 1] + _enlarged(laterals[level], laterals[level - 1])
    levels = [convolution(lateral) for convolution, lateral in zip(head.fpn_convs, laterals, strict=False)]
    levels = [levels[0], *(_enlarged(level, levels[0]) for level in (*levels[1:], laterals[-1]))]
    fused: Tensor = head.fpn_bottleneck(torch.cat(levels, dim=1))
    return fused


def _enlarged(feature: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(feature, like.shape[-2:], mode="bilinear", align_corners=False)
