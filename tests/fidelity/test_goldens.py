"""Our losses against numbers from the authors' own code: values, gradients, and banks after the step, of every implementation.

`ISOCLOCK_GOLDENS=<folder>` reads other files of that format. A golden whose method no file of `published/` maps fails.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import INPUTS, Golden, Variant, output, published

from isoclock.methods import card

FOLDER = Path(os.environ.get("ISOCLOCK_GOLDENS", Path(__file__).parent / "goldens"))
FILES = sorted(FOLDER.glob("*.npz"))
VALUE_TOLERANCE, GRADIENT_TOLERANCE, ZERO_TOLERANCE, STATE_TOLERANCE = 1e-6, 1e-5, 1e-10, 1e-12
PUBLISHED = published()
OTHERWISE = frozenset({"skd_adv"})  # more than one call: test_goldens_adversary.py


def test_there_are_goldens() -> None:
    assert FILES, f"no .npz in {FOLDER}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    golden = Golden.read(path)
    name = golden.meta["method"]
    assert name in PUBLISHED or name in OTHERWISE, f"{path}: no file of tests/fidelity/published maps {name}"
    if name in OTHERWISE:
        return
    ours = PUBLISHED[name].variants(golden.meta)
    assert set(ours) == set(golden.meta["terms"])
    for term, variant in ours.items():
        for implementation in card(variant.method).implementations:
            _check_term(golden, term, variant, implementation)


def _check_term(golden: Golden, term: str, variant: Variant, implementation: str) -> None:
    method = golden.method(variant, implementation)
    PUBLISHED[golden.meta["method"]].prepare(golden, method)
    tensors = {name: golden.tensor(f"in.{name}") for name in INPUTS}
    leaves = {
        name: tensor.requires_grad_() for name, tensor in tensors.items() if tensor is not None and "student" in name
    }
    value = method(
        output(tensors["student_logits"], tensors["student_feature"]),
        output(tensors["teacher_logits"], tensors["teacher_feature"]),
        golden.batch(),
        draw=PUBLISHED[golden.meta["method"]].draws(golden),
    )[variant.term]
    assert value.dtype == torch.float64
    expected = float(golden.arrays[f"out.{term}"])
    assert abs(value.item() - expected) <= max(VALUE_TOLERANCE * abs(expected), 1e-15), f"value of {term}"

    wanted = golden.under(f"grad.{term}")
    assert wanted, f"{term}: golden without gradients"
    largest = max(float(np.linalg.norm(array)) for array in wanted.values())
    value.backward()
    for place, array in wanted.items():
        leaf = method.get_parameter(place.removeprefix("param.")) if place.startswith("param.") else leaves[place]
        assert leaf.grad is not None, f"no gradient: {term} {place}"
        distance = float(np.linalg.norm(leaf.grad.numpy() - array))
        if f"grad.{term}.{place}" in golden.meta["zero_up_to_rounding"]["grads"]:
            assert float(leaf.grad.norm()) <= ZERO_TOLERANCE * largest, (term, place)
        else:
            assert distance <= max(GRADIENT_TOLERANCE * float(np.linalg.norm(array)), 1e-15), (term, place)
    for buffer, array in golden.states("state_after", variant).items():
        off = np.abs(method.get_buffer(buffer).numpy() - array).max()
        assert off <= STATE_TOLERANCE * max(1.0, np.abs(array).max()), f"{buffer} after the step of {term}"
