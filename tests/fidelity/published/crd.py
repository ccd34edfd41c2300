"""Goldens of CRD."""

from typing import Any

from golden import Variant

GOLDENS = ("crd",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    config = meta["config"]
    params = {
        "tap": "head",
        "embedding": config["feat_dim"],
        "negatives": config["nce_k"],
        "temperature": config["nce_t"],
        "momentum": config["nce_m"],
    }
    return {"crd": Variant("crd", "crd", params)}
