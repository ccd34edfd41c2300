"""Goldens of MasKD: tokens set, a projector before the loss."""

from typing import Any

import torch
from golden import Golden, Variant

from isoclock.methods import Method

GOLDENS = ("maskd",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    return {"maskd": Variant("maskd", "maskd", {"tap": "head", "tokens": meta["config"]["tokens"]})}


def prepare(golden: Golden, method: Method) -> None:
    """The frozen tokens are an input there."""
    tokens = golden.tensor("in.mask_tokens")
    assert tokens is not None
    assert method.pretrained is not None
    with torch.no_grad():
        method.pretrained.get_parameter("mask_tokens").copy_(tokens)
