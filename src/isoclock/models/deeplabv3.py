"""DeepLabV3 as torchvision and CIRKD have it: dilated encoder of stride 8, atrous spatial pyramid, auxiliary head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isoclock.models.dilated import DilatedSegmenter, conv_bn_relu
from isoclock.models.segmenter import Segmenter

RATES = (12, 24, 36)


class DeepLabV3(DilatedSegmenter, Segmenter):
    """DeepLabV3, Chen et al. 2017 (arXiv 1706.05587), at output stride 8.

    Head: a 1x1 convolution, 3x3 convolutions of dilation 12, 24 and 36, and the mean of the map, each to `head_channels`;
    concatenated, 1x1 conv-BN-ReLU, dropout of 0.5, 3x3 conv-BN-ReLU, dropout of whole channels, 1x1 classifier.
    torchvision has 256 head channels, CIRKD 512.
    """

    params = {
        "encoder": {"type": "text"},  # tu-<timm name>
        "stem": {"type": "choice", "of": ("own", "plain", "deep", "deep64"), "default": "own"},
        "dilation": {"type": "choice", "of": ("timm", "mmsegmentation"), "default": "timm"},
        "pixels": {"type": "choice", "of": ("imagenet", "caffe"), "default": "imagenet"},
        "head_channels": {"type": "integer", "at_least": 1},
        "aux_channels": {"type": "integer", "at_least": 1},
        "dropout": {"type": "number", "at_least": 0, "below": 1, "default": 0.1},
    }
    output_stride = 8
    taps = {"backbone": 8, "head": 8}
    auxiliary_head = True

    def _build_head(self, backbone_channels: int, head_channels: int) -> Sequence[nn.Module]:
        self.aspp = nn.ModuleList(
            [
                nn.Sequential(*conv_bn_relu(backbone_channels, head_channels, kernel=1)),
                *(nn.Sequential(*conv_bn_relu(backbone_channels, head_channels, 3, rate)) for rate in RATES),
                nn.Sequential(nn.AdaptiveAvgPool2d(1), *conv_bn_relu(backbone_channels, head_channels, kernel=1)),
            ]
        )
        joined_channels = len(self.aspp) * head_channels
        self.project = nn.Sequential(*conv_bn_relu(joined_channels, head_channels, kernel=1), nn.Dropout(0.5))
        self.bottleneck = nn.Sequential(*conv_bn_relu(head_channels, head_channels, kernel=3))
        return self.aspp, self.project, self.bottleneck

    def _head(self, deepest: Tensor) -> Tensor:
        self.check_batch(deepest)
        *maps, mean = [branch(deepest) for branch in self.aspp]
        mean = F.interpolate(mean, deepest.shape[-2:], mode="bilinear", align_corners=False)
        return self.bottleneck(self.project(torch.cat([*maps, mean], dim=1)))
