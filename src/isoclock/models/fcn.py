"""FCN as torchvision has it: dilated encoder of stride 8, one 3x3 convolution as head, auxiliary head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from isoclock.models.dilated import DilatedSegmenter, conv_bn_relu
from isoclock.models.segmenter import Segmenter


class FCN(DilatedSegmenter, Segmenter):
    """Fully convolutional network, Long et al. 2015 (arXiv 1411.4038), on a dilated encoder of stride 8.

    Head: 3x3 conv-BN-ReLU to `head_channels` (512 in torchvision), dropout of whole channels, 1x1 classifier.
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
        self.bottleneck = nn.Sequential(*conv_bn_relu(backbone_channels, head_channels, kernel=3))
        return (self.bottleneck,)

    def _head(self, deepest: Tensor) -> Tensor:
        return self.bottleneck(deepest)
