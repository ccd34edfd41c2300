"""Goldens of plain logit KD."""

from typing import Any

from golden import Variant

GOLDENS = ("kd",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    return {"kd": Variant("kd", "kd", {"temperature": meta["config"]["temperature"]})}
