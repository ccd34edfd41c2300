"""Goldens of CIRKD: the mini-batch term, and the memory terms with the published sampling."""

from typing import Any

import torch
from golden import Golden, Variant
from torch import Tensor

from isoclock.kernels.labels import labels_on_grid

GOLDENS = ("cirkd_minibatch", "cirkd_memory")
SIZES = ("pixel_memory_size", "region_memory_size", "pixel_contrast_size", "region_contrast_size")
STATISTICS = {"bn_running_mean": "projector.1.running_mean", "bn_running_var": "projector.1.running_var"}


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    config = meta["config"]
    if meta["method"] == "cirkd_minibatch":
        params = {"tau": config["tau"], "pool": "average" if config["pool"] else "none"}
        return {"cirkd_minibatch": Variant("cirkd", "minibatch", params)}
    params = {name: config[name] for name in (*SIZES, "tau", "kd_temperature", "pixel_update")}
    params["published_sampling"] = config.get("published_sampling", True)
    return {
        ring: Variant(
            "cirkd",
            f"{ring}_memory",
            params,
            STATISTICS | {f"{other}_queue": None, f"{other}_ptr": None},  # each term has its own ring only
        )
        for ring, other in (("pixel", "region"), ("region", "pixel"))
        if ring in meta["terms"]
    }


def draws(golden: Golden) -> dict[str, Tensor]:
    """A key for each pixel out of the permutation of its class: its place there."""
    found = golden.draws()
    feature = golden.tensor("in.student_feature")
    if golden.meta["method"] == "cirkd_minibatch" or feature is None:
        return {}
    labels = labels_on_grid(golden.batch().target, (feature.shape[2], feature.shape[3])).flatten(1)
    keys = torch.zeros_like(labels)
    for name in [name for name in found if name.startswith("enqueue.")]:
        image, label = map(int, name.split(".")[1:])
        permutation = found.pop(name)
        of_class = (labels[image] == label).nonzero().flatten()
        keys[image, of_class[permutation]] = torch.arange(len(permutation))
    return found | {"enqueue_keys": keys}
