"""Goldens of BPKD, after a third party's code."""

from typing import Any

from golden import Variant

GOLDENS = ("bpkd",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    config = meta["config"]
    params = {
        "temperature": config["temperature"],
        "alpha": config["alpha"],
        "edge_radius": (config["edge_width"] - 1) // 2,
    }
    return {term: Variant("bpkd", term, params) for term in ("edge", "body")}
