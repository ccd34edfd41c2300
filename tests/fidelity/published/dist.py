"""Goldens of DIST on the main logits."""

from typing import Any

from golden import Variant

GOLDENS = ("dist",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    assert meta["config"]["temperature"] == 1
    return {term: Variant("dist", term, {}) for term in ("inter", "intra")}
