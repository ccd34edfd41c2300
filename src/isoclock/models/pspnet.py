"""PSPNet as the literature trains it: dilated encoder of stride 8, pyramid pooling, bottleneck, auxiliary head.

`segmentation_models_pytorch.PSPNet` is another network (three stages, no dilation, no auxiliary head), hence ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isoclock.models.dilated import DilatedSegmenter, conv_bn_relu
from isoclock.models.segmenter import Segmenter

POOL_SIZES = (1, 2, 3, 6)


class PSPNet(DilatedSegmenter, Segmenter):
    """Pyramid scene parsing network, Zhao et al. 2017 (arXiv 1612.01105), at output stride 8.

    Head: average pools to 1x1, 2x2, 3x3 and 6x6, each through a 1x1 conv-BN-ReLU to a quarter of the encoder's channels
    (the paper's rule; for R18 with 128 and R101 with 512 head channels it is also mmsegmentation's), upsampled,
    concatenated with the encoder's map, 3x3 conv-BN-ReLU to `head_channels`, dropout of whole channels, 1x1 classifier.
    The resize is bilinear; `align_corners` is false in mmsegmentation and true in CIRKD.

    With an R101 or R18 of stem `deep`, dilation `mmsegmentation`, 512/256 or 128/64 channels and 19 classes it is
    mmsegmentation's PSPNet with ResNetV1c: 67,967,622 and 12,790,086 parameters, and the same outputs.
    """

    params = {
        "encoder": {"type": "text"},  # tu-<timm name>
        "stem": {"type": "choice", "of": ("own", "plain", "deep", "deep64"), "default": "own"},
        "dilation": {"type": "choice", "of": ("timm", "mmsegmentation"), "default": "timm"},
        "pixels": {"type": "choice", "of": ("imagenet", "caffe"), "default": "imagenet"},
        "head_channels": {"type": "integer", "at_least": 1},
        "aux_channels": {"type": "integer", "at_least": 1},
        "dropout": {"type": "number", "at_least": 0, "below": 1, "default": 0.1},
        "align_corners": {"type": "flag", "default": False},
    }
    output_stride = 8
    taps = {"backbone": 8, "head": 8}
    auxiliary_head = True

    def _build_head(
        self, backbone_channels: int, head_channels: int, align_corners: bool = False
    ) -> Sequence[nn.Module]:
        self.align_corners = align_corners
        pool_channels = max(1, backbone_channels // len(POOL_SIZES))
        self.pyramid = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), *conv_bn_relu(backbone_channels, pool_channels, kernel=1))
            for size in POOL_SIZES
        )
        joined_channels = backbone_channels + len(POOL_SIZES) * pool_channels
        self.bottleneck = nn.Sequential(*conv_bn_relu(joined_channels, head_channels, kernel=3))
        return self.pyramid, self.bottleneck

    def _head(self, deepest: Tensor) -> Tensor:
        self.check_batch(deepest)
        size, align = deepest.shape[-2:], self.align_corners
        pooled = [F.interpolate(level(deepest), size, mode="bilinear", align_corners=align) for level in self.pyramid]
        return self.bottleneck(torch.cat([deepest, *pooled], dim=1))
