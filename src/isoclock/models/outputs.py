"""Names of a segmenter's outputs, and the tuple that holds them. No torch here: params and plans read these names too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from isoclock.errors import ParamsError
from isoclock.hints import choices

if TYPE_CHECKING:
    from torch import Tensor

LOGITS: Final = "logits"
"""Class scores before any upsampling, (B, K, h, w) at the output stride."""

AUX_LOGITS: Final = "aux_logits"
"""Class scores of the auxiliary head on stage 3, (B, K, h, w)."""

BACKBONE: Final = "backbone"
"""Tap: the last stage of the encoder, (B, C, h, w), before the segmentation head."""

HEAD: Final = "head"
"""Tap: the input of the classifier, (B, C, h, w), before dropout."""

TAPS: Final = frozenset({BACKBONE, HEAD})
"""Taps that every architecture has; it may have more."""

OUTPUTS: Final = frozenset({LOGITS, AUX_LOGITS}) | TAPS
"""Outputs that the methods of this package read."""


class SegmenterOutput(NamedTuple):
    """Outputs of one forward pass; an output that was not asked for is None, or missing from `features`."""

    logits: Tensor | None
    aux_logits: Tensor | None
    features: dict[str, Tensor]

    def get(self, name: str) -> Tensor | None:
        """The output called `name`, or None if it was not asked for."""
        if name == LOGITS:
            return self.logits
        return self.aux_logits if name == AUX_LOGITS else self.features.get(name)


@dataclass(frozen=True)
class ChannelSpec:
    """Channels of a segmenter's taps: all that a method needs of a network to build its adapters."""

    backbone: int
    head: int
    further: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Channels of taps that an architecture has in addition to those two."""

    def of(self, tap: str) -> int:
        """Channels at `tap`. Raises ParamsError if the network has no such tap."""
        channels = {BACKBONE: self.backbone, HEAD: self.head, **self.further}
        if tap not in channels:
            raise ParamsError(f"tap: {tap!r}: unknown tap of this network; {choices(tap, channels)}")
        return channels[tap]
