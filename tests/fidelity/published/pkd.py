"""Goldens of PKD."""

from typing import Any

from golden import Variant

GOLDENS = ("pkd",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    return {"pkd": Variant("pkd", "pkd", {"tap": "head"})}
