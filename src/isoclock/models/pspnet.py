"""PSPNet as the literature trains it: dilated encoder of stride 8, pyramid pooling, bottleneck, auxiliary head.

`segmentation_models_pytorch.PSPNet` is another network (three stages, no dilation, no auxiliary head), hence ours.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isoclock.errors import ParamsError
from isoclock.models.encoders import build_encoder
from isoclock.models.outputs import AUX_LOGITS, BACKBONE, HEAD, LOGITS, ChannelSpec, SegmenterOutput
from isoclock.models.segmenter import Segmenter

POOL_SIZES = (1, 2, 3, 6)


class PSPNet(Segmenter):
    """Pyramid scene parsing network, Zhao et al. 2017 (arXiv 1612.01105), at output stride 8.

    Head: average pools to 1x1, 2x2, 3x3 and 6x6, each through a 1x1 conv-BN-ReLU to a quarter of the encoder's channels
    (the paper's rule; for R18 with 128 and R101 with 512 head channels it is also mmsegmentation's), upsampled,
    concatenated with the encoder's map, 3x3 conv-BN-ReLU to `head_channels`, dropout of whole channels, 1x1 classifier.
    Auxiliary head: 3x3 conv-BN-ReLU to `aux_channels` on stage 3, dropout, 1x1 classifier. Every bilinear resize has
    align_corners=False.

    The `head` tap is taken before dropout, so that a student's feature carries no noise that its teacher's does not have.
    """

    params = {
        "encoder": {"type": "text"},  # tu-<timm name>
        "head_channels": {"type": "integer", "at_least": 1},
        "aux_channels": {"type": "integer", "at_least": 1},
        "dropout": {"type": "number", "at_least": 0, "below": 1, "default": 0.1},
    }
    output_stride = 8
    taps = {"backbone": 8, "head": 8}
    auxiliary_head = True

    def __init__(
        self,
        num_classes: int,
        *,
        encoder: str,
        head_channels: int,
        aux_channels: int,
        dropout: float,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, weights, output_stride=self.output_stride)
        stages = cast("list[int]", self.encoder.out_channels)
        stage3_channels, backbone_channels = stages[-2], stages[-1]
        pool_channels = max(1, backbone_channels // len(POOL_SIZES))
        self.pyramid = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), *_conv_bn_relu(backbone_channels, pool_channels, kernel=1))
            for size in POOL_SIZES
        )
        joined_channels = backbone_channels + len(POOL_SIZES) * pool_channels
        self.bottleneck = nn.Sequential(*_conv_bn_relu(joined_channels, head_channels, kernel=3))
        self.classifier = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(head_channels, num_classes, 1))
        self.auxiliary = nn.Sequential(
            *_conv_bn_relu(stage3_channels, aux_channels, kernel=3),
            nn.Dropout2d(dropout),
            nn.Conv2d(aux_channels, num_classes, 1),
        )
        self.channels = ChannelSpec(backbone=backbone_channels, head=head_channels)
        self.num_classes = num_classes
        for part in (self.pyramid, self.bottleneck, self.classifier, self.auxiliary):
            part.apply(_initialise)

    def forward(self, images: Tensor, want: Set[str] = frozenset({LOGITS})) -> SegmenterOutput:
        """Outputs named in `want`; a head runs only if an output of it is wanted.

        Raises ParamsError for a training batch of one image if the head is wanted: the pool of one bin then gives batch
        normalisation a single value per channel.
        """
        self.check_wanted(want)
        stages = self.encoder(images)
        features: dict[str, Tensor] = {}
        if BACKBONE in want:
            features[BACKBONE] = stages[-1]
        logits = None
        if want & {HEAD, LOGITS}:
            head = self._head(stages[-1])
            if HEAD in want:
                features[HEAD] = head
            if LOGITS in want:
                logits = self.classifier(head)
        aux_logits = self.auxiliary(stages[-2]) if AUX_LOGITS in want else None
        return SegmenterOutput(logits, aux_logits, features)

    def _head(self, deepest: Tensor) -> Tensor:
        if self.training and deepest.shape[0] == 1:
            raise ParamsError(
                "batch: 1: the 1x1 pool of PSPNet cannot be batch-normalised; train with 2 images or more"
            )
        size = deepest.shape[-2:]
        pooled = [F.interpolate(level(deepest), size, mode="bilinear", align_corners=False) for level in self.pyramid]
        return self.bottleneck(torch.cat([deepest, *pooled], dim=1))


def _conv_bn_relu(in_channels: int, out_channels: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]


def _initialise(layer: nn.Module) -> None:
    """Kaiming where a ReLU follows; a classifier (it alone has a bias) starts near zero, so that CE starts at ln K."""
    if not isinstance(layer, nn.Conv2d):
        return
    if layer.bias is None:
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    else:
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
