"""What networks on a dilated encoder have in common: encoder, classifier, and an auxiliary head on stage 3."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from isoclock.errors import ParamsError
from isoclock.models.encoders import build_encoder
from isoclock.models.outputs import AUX_LOGITS, BACKBONE, HEAD, LOGITS, ChannelSpec, SegmenterOutput
from isoclock.models.segmenter import (
    Segmenter as Contract,
)  # a base class named Segmenter would make this an architecture

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of RGB in 0..1
_CAFFE_MEAN = (122.67891434, 116.66876762, 104.00698793)  # RGB in 0..255; CIRKD dataset/cityscapes.py @3514008


# Not named Segmenter in the list of bases, by which an architecture is found.
class DilatedSegmenter(Contract):
    """A dilated encoder, a head, dropout of whole channels and a 1x1 classifier.

    Auxiliary head: 3x3 conv-BN-ReLU to `aux_channels` on stage 3, dropout, 1x1 classifier. The `head` tap is taken before
    dropout, so that a student's feature carries no noise that its teacher's does not have.

    `pixels` is what the encoder was trained on: "imagenet" is RGB, normalised by ImageNet's mean and deviation, as recipes
    give it; "caffe" is BGR in 0..255 minus Caffe's mean (CIRKD), to which images are converted first.

    A subclass has `_build_head` and `_head`, and its own options of the head as further arguments.
    """

    caffe_scale: Tensor
    caffe_shift: Tensor
    output_stride: int

    def __init__(
        self,
        num_classes: int,
        *,
        encoder: str,
        head_channels: int,
        aux_channels: int,
        dropout: float = 0.1,
        stem: str = "own",
        dilation: str = "timm",
        pixels: str = "imagenet",
        weights: str | Path | None = None,
        **head: Any,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, weights, output_stride=self.output_stride, stem=stem, dilation=dilation)
        self.weights_file = cast("Path | None", self.encoder.weights_file)
        stages = cast("list[int]", self.encoder.out_channels)
        stage3_channels, backbone_channels = stages[-2], stages[-1]
        parts = self._build_head(backbone_channels, head_channels, **head)
        self.classifier = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(head_channels, num_classes, 1))
        self.auxiliary = nn.Sequential(
            *conv_bn_relu(stage3_channels, aux_channels, kernel=3),
            nn.Dropout2d(dropout),
            nn.Conv2d(aux_channels, num_classes, 1),
        )
        self.channels = ChannelSpec(backbone=backbone_channels, head=head_channels)
        self.num_classes = num_classes
        for part in (*parts, self.classifier, self.auxiliary):
            part.apply(_initialise)
        self.caffe = pixels == "caffe"
        if self.caffe:
            scale, shift = ([255 * std for std in _STD], [255 * m - c for m, c in zip(_MEAN, _CAFFE_MEAN, strict=True)])
            self.register_buffer("caffe_scale", torch.tensor(scale).view(3, 1, 1), persistent=False)
            self.register_buffer("caffe_shift", torch.tensor(shift).view(3, 1, 1), persistent=False)

    @abstractmethod
    def _build_head(self, backbone_channels: int, head_channels: int) -> Sequence[nn.Module]:
        """Add the layers of the head as attributes; returns them in the order in which they are initialised."""

    @abstractmethod
    def _head(self, deepest: Tensor) -> Tensor:
        """Input of the classifier (B, head_channels, h, w) of the last stage (B, C, h, w)."""

    def forward(self, images: Tensor, want: Set[str] = frozenset({LOGITS})) -> SegmenterOutput:
        """Outputs named in `want`; a head runs only if an output of it is wanted.

        Raises ParamsError for a training batch of one image if the head is wanted and has a pool of one bin: that gives
        batch normalisation a single value per channel.
        """
        self.check_wanted(want)
        if self.caffe:
            images = (images * self.caffe_scale + self.caffe_shift).flip(1)
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

    def reorder_classes(self, order: Sequence[int]) -> None:
        """Make output `order[k]` output k."""
        for part in (self.classifier, self.auxiliary):
            classifier = cast("nn.Conv2d", part[-1])
            for parameter in classifier.parameters():
                parameter.data = parameter.data[list(order)]

    def check_batch(self, maps: Tensor) -> None:
        """Raise ParamsError for a training batch of one image, where the head pools to one bin."""
        if self.training and maps.shape[0] == 1:
            raise ParamsError(
                f"batch: 1: the 1x1 pool of {type(self).__name__} cannot be batch-normalised; train with 2 images or more"
            )


def conv_bn_relu(in_channels: int, out_channels: int, kernel: int, dilation: int = 1) -> list[nn.Module]:
    """A convolution without bias that keeps the size, batch norm and ReLU."""
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=False)
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
