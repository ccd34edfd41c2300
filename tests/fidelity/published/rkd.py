"""Goldens of RKD, on averages and on whole maps."""

from typing import Any

from golden import Variant

GOLDENS = ("rkd",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    params = {"tap": "head", "pool": meta["config"]["pool"]}
    return {term: Variant("rkd", term, params) for term in ("distance", "angle")}
