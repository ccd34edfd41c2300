"""Goldens of attention transfer."""

from typing import Any

from golden import Variant

GOLDENS = ("at",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    return {"at": Variant("at", "at", {"tap": "head"})}
