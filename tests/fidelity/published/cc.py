"""Goldens of CC."""

from typing import Any

from golden import Variant

GOLDENS = ("cc",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    return {"cc": Variant("cc", "cc", {"tap": "head", "embedding": meta["config"]["embedding_dim"]})}
