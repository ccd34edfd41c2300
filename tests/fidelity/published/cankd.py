"""Goldens of CanKD, with a batch norm that has left its start at 0."""

from typing import Any

from golden import Variant

GOLDENS = ("cankd",)


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    assert meta["config"]["sub_sample"]
    return {"cankd": Variant("cankd", "cankd", {"tap": "head"})}
