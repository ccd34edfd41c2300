"""Mask2Former with a Swin encoder, the network of transformers with its masks turned into class scores of pixels."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from torch import Tensor

from isoclock.models.class_scores import query_logits
from isoclock.models.hub import HubSegmenter, build_network, swin_config, without_final_norm
from isoclock.models.outputs import BACKBONE, HEAD, LOGITS, ChannelSpec, SegmenterOutput
from isoclock.models.segmenter import Segmenter

DEPTH_FEATURES = ("pixel32", "pixel16", "pixel8")  # of the pixel decoder, as it gives them: the coarsest first


class Mask2Former(HubSegmenter, Segmenter):
    """Masked-attention mask transformer, Cheng et al. 2022 (arXiv 2112.01527), with Swin (arXiv 2103.14030).

    Logits, at stride 4, are the logarithms of normalised class scores: `isoclock.models.class_scores` has the formula. The
    authors' code enlarges the mask logits to the image before it forms scores; here scores are formed at stride 4 and their
    logarithms are enlarged, as every other network's logits are.

    Taps: `backbone` is Swin's last stage; `pixel32`, `pixel16` and `pixel8` are the maps of the pixel decoder that the
    transformer decoder reads, and `head` is its map at stride 4, which the queries' mask embeddings are multiplied with.
    Only what is wanted runs: for `head`, the transformer decoder does not.

    Training here uses the cross-entropy of these logits, as for every network. The published training matches queries with
    segments (Hungarian matching, AdamW); so for published accuracy use a trained checkpoint as the teacher.
    """

    params = {
        # models/hub.py: SWIN
        "swin": {"type": "choice", "of": ("micro", "tiny", "small", "base", "base-384", "large")},
        "queries": {"type": "integer", "at_least": 1, "default": 100},
        "channels": {"type": "integer", "at_least": 32, "default": 256},  # a multiple of 32: group norm
        "encoder_layers": {"type": "integer", "at_least": 1, "default": 6},  # deformable attention, pixel decoder
        "decoder_layers": {"type": "integer", "at_least": 1, "default": 9},  # masked attention
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
    taps = {"backbone": 32, "pixel32": 32, "pixel16": 16, "pixel8": 8, "head": 4}

    def __init__(
        self,
        num_classes: int,
        *,
        swin: str,
        queries: int,
        channels: int,
        encoder_layers: int,
        decoder_layers: int,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

        config = Mask2FormerConfig(  # type: ignore[call-arg]  # num_labels is one of the settings that every network takes
            backbone_config=swin_config(swin),
            num_labels=num_classes,
            num_queries=queries,
            feature_size=channels,
            mask_feature_size=channels,
            hidden_dim=channels,
            encoder_feedforward_dim=4 * channels,
            dim_feedforward=8 * channels,
            encoder_layers=encoder_layers,
            decoder_layers=decoder_layers + 1,  # theirs counts the prediction before the first layer
        )
        self.network, self.weights_file = build_network(
            Mask2FormerForUniversalSegmentation, config, weights, "mask2former", "swin", swin=swin
        )
        without_final_norm(self.network.model.pixel_level_module.encoder)
        encoder_channels = self.network.model.pixel_level_module.encoder.channels[-1]
        self.channels = ChannelSpec(encoder_channels, channels, dict.fromkeys(DEPTH_FEATURES, channels))
        self.num_classes = num_classes

    def forward(self, images: Tensor, want: Set[str] = frozenset({LOGITS})) -> SegmenterOutput:
        """Outputs named in `want`; logits are float32 under autocast too."""
        self.check_wanted(want)
        level = self.network.model.pixel_level_module
        stages = level.encoder(images).feature_maps
        found = {BACKBONE: stages[-1]}
        logits = None
        if want - {BACKBONE}:
            decoded = level.decoder(stages)
            found |= {
                HEAD: decoded.mask_features,
                **dict(zip(DEPTH_FEATURES, decoded.multi_scale_features, strict=True)),
            }
            if LOGITS in want:
                answers = self.network.model.transformer_module(decoded.multi_scale_features, decoded.mask_features)
                classes = self.network.class_predictor(answers.intermediate_hidden_states[-1].transpose(0, 1))
                logits = query_logits(classes, answers.masks_queries_logits[-1])
        return SegmenterOutput(logits, None, {name: found[name] for name in want & self.taps.keys()})
