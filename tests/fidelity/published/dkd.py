"""Goldens of DKD, pixel by pixel."""

from typing import Any

from golden import Variant

GOLDENS = ("dkd",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    params = {"temperature": meta["config"]["temperature"]}
    return {term: Variant("dkd", term, params) for term in ("tckd", "nckd")}
