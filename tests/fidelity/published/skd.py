"""Goldens of SKD's pair-wise term, in both definitions; its adversary is in test_goldens_adversary.py."""

from typing import Any

from golden import Variant

GOLDENS = ("skd_pair", "skd_pair_official")


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    nodes = "port" if meta["method"] == "skd_pair" else "official"
    return {meta["method"]: Variant("skd", "pair", {"tap": "head", "nodes": nodes})}
