"""What a segmenter gives, and how its parts are called. No torch here: params and plans read these names too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

LOGITS: Final = "logits"
"""Class scores before any upsampling, (B, K, h, w) at the output stride."""

AUX_LOGITS: Final = "aux_logits"
"""Class scores of the auxiliary head on stage 3, (B, K, h, w)."""

BACKBONE: Final = "backbone"
"""Tap: the last encoder stage, (B, C, h, w), before the segmentation head."""

HEAD: Final = "head"
"""Tap: the input of the classifier, (B, C, h, w), before dropout."""

TAPS: Final = frozenset({BACKBONE, HEAD})
OUTPUTS: Final = frozenset({LOGITS, AUX_LOGITS}) | TAPS


class SegmenterOutput(NamedTuple):
    """What one forward pass gave; whatever was not asked for is None, or missing from `features`."""

    logits: Tensor | None
    aux_logits: Tensor | None
    features: dict[str, Tensor]

    def get(self, name: str) -> Tensor | None:
        """The output called `name` (one of OUTPUTS), or None if it was not asked for."""
        if name == LOGITS:
            return self.logits
        return self.aux_logits if name == AUX_LOGITS else self.features.get(name)


@dataclass(frozen=True)
class ChannelSpec:
    """Channels of a segmenter's two taps: all that a method must know of a network to build its adapters."""

    backbone: int
    head: int

    def of(self, tap: str) -> int:
        """Channels at `tap`. Raises KeyError for a name that is no tap."""
        return {BACKBONE: self.backbone, HEAD: self.head}[tap]
