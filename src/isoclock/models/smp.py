"""DeepLabV3, DeepLabV3+, FPN and others of segmentation-models-pytorch, with any encoder that it has, timm's included."""

from __future__ import annotations

import warnings
from collections.abc import Set
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from isoclock.errors import ArtifactError, ParamsError
from isoclock.models.card import architecture
from isoclock.models.encoder_weights import load_encoder_weights
from isoclock.models.encoders import RandomWeightsWarning, build_encoder
from isoclock.models.hub_weights import IMAGENET, RANDOM, hub_file, smp_name
from isoclock.models.outputs import AUX_LOGITS, BACKBONE, HEAD, LOGITS, ChannelSpec, SegmenterOutput
from isoclock.models.segmenter import Segmenter
from isoclock.models.tensor_files import read_tensors

_CHANNELS = {"fpn": "decoder_segmentation_channels", "segformer": "decoder_segmentation_channels"}
_PADDED_TO = 32  # pixels; the decoders combine maps of all strides of the encoder
_UNDILATED = ("fpn", "segformer", "upernet")


class SMP(Segmenter):
    """A decoder of segmentation-models-pytorch on an encoder, its class scores taken before they are enlarged.

    `encoder` is a name of that package (resnet101, mobilenet_v2, ...) or tu-<name in timm>. `encoder_stride` is the stride of
    the encoder's last stage: 8 or 16 by dilation for deeplabv3 and deeplabv3plus, 16 or 32 for pan, 32 for the others.
    `channels` are those of the map before the classifier; fpn needs a multiple of 32, for its group norms. `dropout` is where
    the package has it: in the pyramid of deeplab, otherwise (whole channels) before the classifier. The decoder's other
    settings are the package's defaults.

    Auxiliary head: 3x3 conv-BN-ReLU to `aux_channels` on the encoder's stage before the last, dropout, 1x1 classifier, as in
    our PSPNet; that package has none. Images whose sides are no multiples of 32 are padded, below and to the right, with 0
    (the mean colour after normalisation), and what reaches beyond the image is cut off.
    """

    params = {
        "decoder": {"type": "choice", "of": ("deeplabv3", "deeplabv3plus", "fpn", "pan", "segformer", "upernet")},
        "encoder": {"type": "text"},
        "encoder_stride": {"type": "choice", "of": (8, 16, 32)},
        "channels": {"type": "integer", "at_least": 1, "default": 256},
        "aux_channels": {"type": "integer", "at_least": 1, "default": 256},
        "dropout": {"type": "number", "at_least": 0, "below": 1, "default": 0.1},
    }
    output_stride = {
        "decoder": {
            "deeplabv3": {"encoder_stride": {8: 8, 16: 16}},
            "deeplabv3plus": {"encoder_stride": {8: 4, 16: 4}},
            "pan": {"encoder_stride": {16: 4, 32: 4}},
            "fpn": {"encoder_stride": {32: 4}},
            "segformer": {"encoder_stride": {32: 4}},
            "upernet": {"encoder_stride": {32: 4}},
        }
    }
    taps = {
        "backbone": "encoder_stride",
        "head": {
            "decoder": {
                "deeplabv3": "encoder_stride",
                "deeplabv3plus": 4,
                "pan": 4,
                "fpn": 4,
                "segformer": 4,
                "upernet": 4,
            }
        },
    }
    auxiliary_head = True
    auxiliary_stride = {"encoder_stride": {8: 8, 16: 16, 32: 16}}

    def __init__(
        self,
        num_classes: int,
        *,
        decoder: str,
        encoder: str,
        encoder_stride: int,
        channels: int,
        aux_channels: int,
        dropout: float,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        in_pyramid = decoder.startswith("deeplab")
        settings: dict[str, Any] = {_CHANNELS.get(decoder, "decoder_channels"): channels}
        if decoder not in _UNDILATED:
            settings["encoder_output_stride"] = encoder_stride
        if in_pyramid:
            settings["decoder_aspp_dropout"] = dropout
        elif decoder == "fpn":
            settings["decoder_dropout"] = 0.0
        self.strides = architecture("smp").strides({"decoder": decoder, "encoder_stride": encoder_stride})
        built = _build(decoder, encoder, num_classes, settings)
        if weights is not None:
            self.weights_file = _start(built.encoder, encoder, weights, encoder_stride)
        self.encoder, self.decoder = built.encoder, built.decoder
        layers = [] if in_pyramid else [nn.Dropout2d(dropout)]
        self.classifier = nn.Sequential(*layers, built.segmentation_head[0])
        stages = list(self.encoder.out_channels)
        self.auxiliary = nn.Sequential(
            nn.Conv2d(stages[-2], aux_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(aux_channels),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
            nn.Conv2d(aux_channels, num_classes, 1),
        )
        self.channels = ChannelSpec(backbone=stages[-1], head=built.segmentation_head[0].in_channels)
        self.num_classes = num_classes

    def forward(self, images: Tensor, want: Set[str] = frozenset({LOGITS})) -> SegmenterOutput:
        """Outputs named in `want`; a head runs only if an output of it is wanted.

        Raises ParamsError for a training batch of one image if the head is wanted and pools the whole map.
        """
        self.check_wanted(want)
        size = images.shape[-2:]
        over = [-side % _PADDED_TO for side in size]
        stages = self.encoder(F.pad(images, (0, over[1], 0, over[0])) if any(over) else images)
        found: dict[str, Tensor] = {BACKBONE: stages[-1]}
        if want & {HEAD, LOGITS}:
            found[HEAD] = self._decoded(stages)
            if LOGITS in want:
                found[LOGITS] = self.classifier(found[HEAD])
        if AUX_LOGITS in want:
            found[AUX_LOGITS] = self.auxiliary(stages[-2])
        given = {name: self._within(found[name], name, size) for name in want}
        return SegmenterOutput(given.pop(LOGITS, None), given.pop(AUX_LOGITS, None), given)

    def _decoded(self, stages: list[Tensor]) -> Tensor:
        try:
            decoded: Tensor = self.decoder(stages)
        except ValueError as error:
            if self.training and len(stages[-1]) == 1 and "more than 1 value per channel" in str(error):
                raise ParamsError(
                    "batch: 1: a pool over the whole image cannot be batch-normalised; train with 2 images or more"
                ) from error
            raise
        return decoded

    def _within(self, feature: Tensor, name: str, size: Any) -> Tensor:
        stride = self.strides[name]
        rows, columns = (-(-side // stride) for side in size)
        return feature if feature.shape[-2:] == (rows, columns) else feature[..., :rows, :columns]


def _build(decoder: str, encoder: str, num_classes: int, settings: dict[str, Any]) -> Any:
    # Imported here: smp and timm (with torchvision) take 2 s, which users of the losses alone need not wait for.
    import segmentation_models_pytorch as smp

    try:
        return smp.create_model(decoder, encoder, encoder_weights=None, classes=num_classes, **settings)
    except (KeyError, TypeError, ValueError, AssertionError, RuntimeError, NotImplementedError) as error:
        first_line = str(error).strip().split("\n")[0]
        raise ParamsError(
            f"encoder: {encoder!r}: cannot be built for {decoder} ({first_line}); choose another encoder or encoder_stride"
        ) from error


def _start(encoder: Any, name: str, weights: str | Path, stride: int) -> Path | None:
    """Load what an encoder starts from; returns the file, where it is known. Raises what `build_encoder` raises."""
    if name.startswith("tu-"):
        source = build_encoder(name, weights, output_stride=stride)
        encoder.load_state_dict(source.state_dict())
        return getattr(source, "weights_file", None)
    if weights == RANDOM:
        warnings.warn(
            f"{name}: starts from random weights; for a study give a file", RandomWeightsWarning, stacklevel=3
        )
        return None
    if weights != IMAGENET:
        load_encoder_weights(encoder, Path(weights))
        return Path(weights)
    if (hub := smp_name(name)) is None:
        raise ParamsError(
            f"weights: imagenet: segmentation-models-pytorch has none of {name}; give a file, or set `weights: random`"
        )
    file = hub_file(hub)
    try:
        encoder.load_state_dict(dict(read_tensors(file).tensors))  # as that package: it drops the classifier
    except (KeyError, RuntimeError) as error:
        first_line = str(error).strip().split("\n")[0]
        raise ArtifactError(f"{file}: does not fit {name} ({first_line}); remove it, and fetch it again") from error
    return file
