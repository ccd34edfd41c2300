"""Segmentation networks: names of their outputs (`outputs`), the contract (`segmenter`), one file for each architecture.

Names are resolved on first use, so that importing `ChannelSpec` or the name of a tap imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from isoclock.models.card import Architecture, architecture, architectures
from isoclock.models.outputs import AUX_LOGITS, BACKBONE, HEAD, LOGITS, OUTPUTS, TAPS, ChannelSpec, SegmenterOutput

if TYPE_CHECKING:
    from isoclock.models.build import build_segmenter
    from isoclock.models.segmenter import Segmenter

_LAZY = {"Segmenter": "segmenter", "build_segmenter": "build"}

__all__ = [
    "AUX_LOGITS",
    "BACKBONE",
    "HEAD",
    "LOGITS",
    "OUTPUTS",
    "TAPS",
    "Architecture",
    "ChannelSpec",
    "Segmenter",
    "SegmenterOutput",
    "architecture",
    "architectures",
    "build_segmenter",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    for known in architectures().values():
        if known.class_name == name:
            return known.defined.load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
