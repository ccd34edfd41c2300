"""Segmentation networks: what they give (`outputs`), how they are built (`build`), one file for each architecture.

Names are resolved on first use, so that reading `ChannelSpec` or a tap's name imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from isoclock.models.outputs import AUX_LOGITS, BACKBONE, HEAD, LOGITS, OUTPUTS, TAPS, ChannelSpec, SegmenterOutput

if TYPE_CHECKING:
    from isoclock.discovery import architectures
    from isoclock.models.build import build_segmenter
    from isoclock.models.pspnet import PSPNet
    from isoclock.models.segmenter import Segmenter

_LAZY = {"PSPNet": "pspnet", "Segmenter": "segmenter", "architectures": "build", "build_segmenter": "build"}

__all__ = [
    "AUX_LOGITS",
    "BACKBONE",
    "HEAD",
    "LOGITS",
    "OUTPUTS",
    "TAPS",
    "ChannelSpec",
    "PSPNet",
    "Segmenter",
    "SegmenterOutput",
    "architectures",
    "build_segmenter",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
