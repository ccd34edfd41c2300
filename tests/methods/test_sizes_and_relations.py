"""What the value of a term depends on apart from the two networks: the size of the map, channels, and the other images.

A weight belongs to a map size where its term grows with it, and to the images of a device where its term relates images. All
entries of params/methods.yaml are tried, by `make test` one for each term of a method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from isoclock.methods import Batch, ChannelSpec, Method, build_method, card
from isoclock.methods.testing import CLASSES, as_output, labels, outputs
from isoclock.params.load import read_params
from isoclock.runner.device import choose_device

PARAMS = Path(__file__).parents[2] / "params"
ENTRIES = yaml.safe_load((PARAMS / "methods.yaml").read_text())
TERMS = [
    (name, term)
    for name, entry in ENTRIES.items()
    for term, weight in entry["weights"].items()
    if weight and term != "holistic"  # the output of a discriminator has no scale
]
FIRST = {(ENTRIES[name]["method"], term): name for name, term in reversed(TERMS)}
CASES = [
    pytest.param(*case, marks=[] if FIRST[ENTRIES[case[0]]["method"], case[1]] == case[0] else pytest.mark.test_all)
    for case in TERMS
]
STUDENT, TEACHER = 16, 32  # channels
BLOCK = 4  # positions, in each direction, that are the same
SMALL = {"pixel_memory_size": 16, "region_memory_size": 3, "negatives": 40, "pretrain_iterations": 1}
"""Banks that one batch fills."""

GROWING: Mapping[tuple[str, str], tuple[float, float]] = {
    ("mgd", "mgd"): (1, 1),
    ("afdcd", "feature"): (1, 1),
    ("afdcd", "contrast"): (0, math.nan),
    ("at", "at"): (-1, 0),
    ("cirkd", "pixel_memory"): (0, math.nan),  # depends on how well random adapters fit the banks
    ("cirkd", "region_memory"): (0, math.nan),
}
"""By method and term: exponents of the number of positions and of channels (nan: not a power). All others have (0, 0)."""
TOLERANCES = 0.3, 0.7
"""Of these: adapters are drawn at random for other channels."""

FULL_SIZE = ("cityscapes", "cityscapes-extra", "ade20k")
WEIGHTS: Mapping[str, Callable[[int], float]] = {
    **dict.fromkeys(("mgd", "mgd-official"), lambda positions: 2e-5 * 64 * 64 / positions),
    "mgd-head": lambda positions: 2e-5 * 64 * 64 / positions * 2048 / 512,
    **dict.fromkeys(("at", "at-official"), lambda positions: 1e4 * positions / (64 * 128)),
    **dict.fromkeys(  # published for both sizes
        ("afdcd", "afdcd-plain", "afdcd-centre", "afdcd-official"), {64 * 128: 2e-6, 64 * 64: 1e-6}.__getitem__
    ),
}
"""Weights of the terms that grow with the map, by the number of its positions."""

NOT_GROUPED: Mapping[tuple[str, str], str] = {
    ("crd", "crd"): "its banks and constants are of the whole training set",
    ("cirkd", "pixel_memory"): "rings of all devices, and a batch norm that is synchronised in the published code",
    ("cirkd", "region_memory"): "rings of all devices, and a batch norm that is synchronised in the published code",
    ("skd", "pixel"): "a sum over the batch, as published",
    ("cwd", "cwd"): "the batch norm of conv-bn-relu, published on one GPU",
}
"""Terms of a batch that are not the mean of those of its images, although `images_per_group` is none of their parameters."""


def made(name: str, term: str, channels: int = 1) -> Method:
    entry = ENTRIES[name]
    params = entry["params"] | {key: value for key, value in SMALL.items() if key in entry["params"]}
    torch.manual_seed(0)
    method = build_method(
        entry["method"],
        student=ChannelSpec(STUDENT * channels, STUDENT * channels),
        teacher=ChannelSpec(TEACHER * channels, TEACHER * channels),
        num_classes=CLASSES,
        dataset_size=10,
        active_terms={term},
        **params,
    )
    method.seed(0)
    return method.to(choose_device(), torch.float64)


def networks(images: int, scale: int = 1, channels: int = 1) -> list[dict[str, Tensor]]:
    """Outputs of student and teacher: `scale` enlarges every position, and channels of features are repeated."""
    found = []
    for count, seed in ((STUDENT, 0), (TEACHER, 1)):
        maps = outputs(ChannelSpec(count, count), images=images, seed=seed, size=(4, 4))
        for name, leaf in maps.items():
            large = enlarged(leaf.detach().double(), BLOCK * scale)
            maps[name] = large.repeat(1, channels, 1, 1) if name in ("backbone", "head") else large
        found.append(maps)
    return found


def enlarged(maps: Tensor, times: int) -> Tensor:
    return maps.repeat_interleave(times, -1).repeat_interleave(times, -2)


@cache
def value(name: str, term: str, scale: int = 1, channels: int = 1) -> float:
    batch = labels(4, size=(4, 4))
    target = enlarged(batch.target, BLOCK * scale)
    method = made(name, term, channels)
    terms = method(*map(as_output, networks(4, scale, channels)), Batch(target, batch.index, batch.labelled))
    return float(terms[term].detach())


@pytest.mark.parametrize(("name", "term"), CASES)
def test_a_term_grows_with_map_and_channels_as_listed(name: str, term: str) -> None:
    growth = (
        math.log(value(name, term, scale=2) / value(name, term), 4),
        math.log(value(name, term, channels=2) / value(name, term), 2),
    )
    listed = GROWING.get((ENTRIES[name]["method"], term), (0, 0))
    if name == "fitnet-pixel":  # a mean over the channels of unit vectors
        listed = (0, -1)
    for found, expected, tolerance in zip(growth, listed, TOLERANCES, strict=True):
        assert math.isnan(expected) or found == pytest.approx(expected, abs=tolerance), growth


def test_weights_of_terms_that_grow_with_the_map_are_scaled_to_it() -> None:
    params = read_params(PARAMS)
    growing = {name: term for name, term in TERMS if GROWING.get((ENTRIES[name]["method"], term), (0, 0))[0]}
    assert growing.keys() == WEIGHTS.keys()
    for name, term in growing.items():
        for dataset in FULL_SIZE:
            height, width = (side // 8 for side in params.recipe(dataset, "student").crop)
            weight = params.method(name).on(dataset).weights[term]
            assert weight == pytest.approx(WEIGHTS[name](height * width)), (name, dataset)


def whole_and_parts(name: str, term: str, size: int) -> tuple[float, float]:
    """A term of four images, and its mean over parts of `size` images, with the same adapters and draws."""
    student, teacher = networks(4)
    target = torch.randint(CLASSES, (4, 128, 128), generator=torch.Generator().manual_seed(0), device="cpu")
    target = target.to(student["logits"].device)
    drawn = made(name, term).draw(as_output(student), Batch(target, torch.arange(4), torch.ones(4, dtype=torch.bool)))

    def of(part: slice) -> float:
        maps = (as_output({key: leaf[part] for key, leaf in network.items()}) for network in (student, teacher))
        batch = Batch(target[part], torch.arange(4)[part], torch.ones(4, dtype=torch.bool)[part])
        draws = {key: leaf[part] if len(leaf) == 4 else leaf for key, leaf in drawn.items()}
        return float(made(name, term)(*maps, batch, draw=draws)[term].detach())

    parts = [of(slice(start, start + size)) for start in range(0, 4, size)]
    return of(slice(None)), sum(parts) / len(parts)


@pytest.mark.parametrize(("name", "term"), CASES)
def test_a_term_that_relates_images_has_groups(name: str, term: str) -> None:
    method = ENTRIES[name]["method"]
    if (method, term) in NOT_GROUPED:
        return
    whole, mean = whole_and_parts(name, term, 1)
    if whole != pytest.approx(mean, rel=1e-6):
        assert "images_per_group" in card(method).params
    size = ENTRIES[name]["params"].get("images_per_group", 4)
    if size == 2:
        whole, mean = whole_and_parts(name, term, 2)
        assert whole == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize("which", NOT_GROUPED)
def test_what_is_listed_as_related_is(which: tuple[str, str]) -> None:
    name = "cwd-feature-channels" if which == ("cwd", "cwd") else FIRST[which]
    whole, mean = whole_and_parts(name, which[1], 1)
    assert whole != pytest.approx(mean, rel=1e-6)
