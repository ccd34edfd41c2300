"""Goldens of GDKD, with and without ignored pixels."""

from typing import Any

from golden import Variant

GOLDENS = ("gdkd",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    config = meta["config"]
    params = {
        "temperature": config["temperature"],
        "top": config["k"],
        "mask_ignored": config["ignore_index"] is not None,
    }
    return {term: Variant("gdkd", term, params) for term in ("high", "low_top", "low_other")}
