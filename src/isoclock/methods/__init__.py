"""Distillation losses for semantic segmentation: one file is one method, found by being here.

    from isoclock.methods import CWD, build_method, available

Importing this package imports no torch; a method's file is imported when its class is first asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Set
from typing import TYPE_CHECKING, Any

from isoclock.errors import ParamsError
from isoclock.methods.card import REFERENCE, TUNED, Card, card, cards, signature_problems
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
    "signature_problems",
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
    """A method, ready to train with, on the CPU in float32; adapters are drawn from torch's generator.

    `active_terms` are the terms with a weight (None: all); the others are not built, and what only they need is not
    asked of the networks. Raises ParamsError that lists every unknown or unfit name and value.
    """
    active = None if active_terms is None else frozenset(active_terms)
    if problems := signature_problems(name, params, implementation=implementation, active_terms=active):
        raise ParamsError(problems)
    method: Method = _class_of(name)(
        student=student,
        teacher=teacher,
        num_classes=num_classes,
        dataset_size=dataset_size,
        implementation=implementation,
        active_terms=active,
        **params,
    )
    return method


def _class_of(name: str) -> Any:
    return cards()[name].defined.load()


def __getattr__(name: str) -> Any:
    if name in ("Batch", "Method"):
        return getattr(importlib.import_module(f"{__name__}.contract"), name)
    for known in cards().values():
        if known.class_name == name:
            return _class_of(known.name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(known.class_name for known in cards().values())])
