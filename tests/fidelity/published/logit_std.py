"""Goldens of logit standardisation, pixel by pixel."""

from typing import Any

from golden import Variant

GOLDENS = ("logit_std",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    return {"logit_std": Variant("logit_std", "logit_std", {"temperature": meta["config"]["temperature"]})}
