"""Goldens of IFVD."""

from typing import Any

from golden import Variant

GOLDENS = ("ifvd",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    return {"ifvd": Variant("ifvd", "ifvd", {"tap": "head"})}
