"""Goldens of plain feature KD."""

from typing import Any

from golden import Variant

GOLDENS = ("fitnet",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    return {"fitnet": Variant("fitnet", "fitnet", {"tap": "head"})}
