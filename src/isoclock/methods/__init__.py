"""Distillation losses for semantic segmentation: each file or folder is a method, found by its presence.

    from isoclock.methods import CWD, build_method, available

Importing this package imports no torch; a method's file is imported when its class is first asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Set
from typing import TYPE_CHECKING, Any

from isoclock.methods.card import REFERENCE, TUNED, Card, card, cards
from isoclock.models.outputs import ChannelSpec

if TYPE_CHECKING:
    from isoclock.methods.contract import Batch, Method

__all__ = [
    "REFERENCE",
    "TUNED",
    "Batch",
    "Card",
    "ChannelSpec",
    "Method",
    "available",
    "build_method",
    "card",
    "cards",
]


def available() -> tuple[str, ...]:
    """Names of all methods, sorted."""
    return tuple(sorted(cards()))


def build_method(
    name: str,
    *,
    student: ChannelSpec,
    teacher: ChannelSpec,
    num_classes: int,
    dataset_size: int,
    implementation: str = REFERENCE,
    active_terms: Set[str] | None = None,
    **params: Any,
) -> Method:
    """A method that is ready for training, on the CPU in float32; torch's global generator initialises its adapters.

    `active_terms` are the terms with a weight (None: all). The others are not built, and the networks are not asked for
    outputs that only they read. Raises ParamsError if the name is unknown, or with a line for each wrong value.
    """
    method: Method = _class_of(card(name))(
        student=student,
        teacher=teacher,
        num_classes=num_classes,
        dataset_size=dataset_size,
        implementation=implementation,
        active_terms=active_terms,
        **params,
    )
    return method


def _class_of(known: Card) -> Any:
    assert known.defined is not None
    return known.defined.load()


def __getattr__(name: str) -> Any:
    if name in ("Batch", "Method"):
        return getattr(importlib.import_module(f"{__name__}.contract"), name)
    for known in cards().values():
        if known.class_name == name:
            return _class_of(known)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(known.class_name for known in cards().values())])
