"""Goldens of CWD on logits, and on features with either divisor."""

from typing import Any

from golden import Variant

GOLDENS = ("cwd_logit", "cwd_feature")


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    temperature = meta["config"]["temperature"]
    if meta["method"] == "cwd_logit":
        form = "mmrazor" if temperature == 1 else "torchdistiller"  # the same numbers
        return {"cwd_logit": Variant("cwd", "cwd", {"tap": "logit", "temperature": temperature, "form": form})}
    params = {"tap": "head", "temperature": temperature}
    return {
        "cwd_feature": Variant("cwd", "cwd", params | {"divisor": "student_channels"}),
        "cwd_feature_teacher_channels": Variant("cwd", "cwd", params | {"divisor": "teacher_channels"}),
    }
