"""Goldens of Af-DCD: the two terms, and a diagnostic of the authors' contrast on the aligned feature itself."""

from typing import Any

from golden import Golden, Variant

from isoclock.methods import Method

GOLDENS = ("afdcd",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    config = meta["config"]
    params = {"tap": "head", "temperature": config["tau"], "groups": config["groups"], "pool": config["pool"]}
    rebuilt = params | {"mask_ratio": config["mask_ratio"]}
    return {
        "feature": Variant("afdcd", "feature", rebuilt),
        "contrast": Variant("afdcd", "contrast", rebuilt),
        "contrast_only": Variant("afdcd", "contrast", params | {"mask": "none"}),
    }


def prepare(golden: Golden, method: Method) -> None:
    """`contrast_only`, known by having no mask, goes past the projector and is not divided by B."""
    if method.settings["mask"] == "none":
        images = golden.meta["shapes"]["B"]
        method.settings["projector"] = "none"
        method.register_forward_hook(lambda _method, _inputs, terms: {"contrast": images * terms["contrast"]})
