"""Goldens of MGD."""

from typing import Any

from golden import Variant

GOLDENS = ("mgd",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    return {"mgd": Variant("mgd", "mgd", {"tap": "head", "mask_ratio": meta["config"]["mask_ratio"]})}
