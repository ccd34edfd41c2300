"""Our losses against numbers from the authors' own code: values, and gradients to student, features and adapters."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isoclock.methods import Batch, ChannelSpec, Method, available, build_method
from isoclock.models import SegmenterOutput

FOLDER = Path(os.environ.get("ISOCLOCK_GOLDENS", Path(__file__).parent / "goldens"))
FILES = sorted(FOLDER.glob("*.npz"))
VALUE_TOLERANCE, GRADIENT_TOLERANCE, ZERO_TOLERANCE = 1e-6, 1e-5, 1e-10


@dataclass(frozen=True)
class Variant:
    """Which of our methods, with which params, gives a golden's term; `term` is our name of it."""

    method: str
    term: str
    params: dict[str, Any]


def variants(meta: dict[str, Any]) -> dict[str, Variant]:
    """Ours for each term of a golden."""
    config = meta["config"]
    match meta["method"]:
        case "kd":
            return {"kd": Variant("kd", "kd", {"temperature": config["temperature"]})}
        case "fitnet":
            return {"fitnet": Variant("fitnet", "fitnet", {"tap": "head"})}
        case "cwd_logit":
            return {"cwd_logit": Variant("cwd", "cwd", {"tap": "logit", "temperature": config["temperature"]})}
        case "cwd_feature":
            params = {"tap": "head", "temperature": config["temperature"]}
            return {
                "cwd_feature": Variant("cwd", "cwd", params | {"divisor": "student_channels"}),
                "cwd_feature_teacher_channels": Variant("cwd", "cwd", params | {"divisor": "teacher_channels"}),
            }
        case "mgd":
            return {"mgd": Variant("mgd", "mgd", {"tap": "head", "mask_ratio": config["mask_ratio"]})}
    raise AssertionError(f"{meta['method']}: has a file in methods/ but no line in tests/fidelity: add one")


# Golden's name -> the file in methods/ that will answer it; "" where the name is the file's.
PUBLISHED = {
    **dict.fromkeys(("kd", "fitnet", "mgd", "at", "ifvd", "dist", "dkd", "bpkd", "afdcd", "maskd", "pkd"), ""),
    **dict.fromkeys(("rkd", "cc", "crd"), ""),
    **dict.fromkeys(("cwd_logit", "cwd_feature"), "cwd"),
    **dict.fromkeys(("cirkd_memory", "cirkd_minibatch"), "cirkd"),
    **dict.fromkeys(("skd_pair", "skd_pair_official", "skd_adv"), "skd"),
}


def test_there_are_goldens() -> None:
    assert FILES, f"no .npz in {FOLDER}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    with np.load(path) as stored:
        golden = {name: stored[name] for name in stored.files}
    meta = json.loads(str(golden.pop("meta")))
    name = meta["method"]
    assert name in PUBLISHED, f"{path}: golden of a method nobody knows: {name}"
    if (PUBLISHED[name] or name) not in available():
        pytest.skip(f"golden of a method that is not implemented yet: {name}")
    ours = variants(meta)
    assert set(ours) == set(meta["terms"])
    for term, variant in ours.items():
        _check_term(golden, meta, term, variant)


def _check_term(golden: dict[str, np.ndarray], meta: dict[str, Any], term: str, variant: Variant) -> None:
    method = _method(meta, variant)
    parameters = _load_parameters(method, golden)
    tensors = {name: _tensor(golden, f"in.{name}") for name in _INPUTS}
    leaves = {
        name: tensor.requires_grad_() for name, tensor in tensors.items() if tensor is not None and "student" in name
    }
    value = method(
        _output(tensors["student_logits"], tensors["student_feature"]),
        _output(tensors["teacher_logits"], tensors["teacher_feature"]),
        _batch(golden),
        draw={name[4:]: _tensor(golden, name) for name in golden if name.startswith("rng.")},
    )[variant.term]
    assert value.dtype == torch.float64
    expected = float(golden[f"out.{term}"])
    assert abs(value.item() - expected) <= max(VALUE_TOLERANCE * abs(expected), 1e-15), f"value of {term}"

    wanted = {key: array for key, array in golden.items() if key.startswith(f"grad.{term}.")}
    assert wanted, f"{term}: golden without gradients"
    largest = max(float(np.linalg.norm(array)) for array in wanted.values())
    value.backward()
    for key, array in wanted.items():
        place = key.removeprefix(f"grad.{term}.")
        leaf = parameters[place.removeprefix("param.")] if place.startswith("param.") else leaves[place]
        assert leaf.grad is not None, f"no gradient: {key}"
        distance = float(np.linalg.norm(leaf.grad.numpy() - array))
        if key in meta["zero_up_to_rounding"]["grads"]:
            assert float(leaf.grad.norm()) <= ZERO_TOLERANCE * largest, key
        else:
            assert distance <= GRADIENT_TOLERANCE * float(np.linalg.norm(array)), key


_INPUTS = ("student_logits", "teacher_logits", "student_feature", "teacher_feature")


def _method(meta: dict[str, Any], variant: Variant) -> Method:
    shapes = meta["shapes"]
    method = build_method(
        variant.method,
        student=ChannelSpec(backbone=shapes["Cs"] or 8, head=shapes["Cs"] or 8),
        teacher=ChannelSpec(backbone=shapes["Ct"] or 16, head=shapes["Ct"] or 16),
        num_classes=shapes["K"],
        dataset_size=meta["config"].get("n_data", 16),
        active_terms={variant.term},
        **variant.params,
    )
    return method.double()


def _load_parameters(method: Method, golden: dict[str, np.ndarray]) -> dict[str, torch.nn.Parameter]:
    """Copy the golden's parameters into the method's, which must be exactly those."""
    parameters = dict(method.named_parameters())
    assert {f"param.{name}" for name in parameters} == {name for name in golden if name.startswith("param.")}
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(golden[f"param.{name}"]))
    return parameters


def _tensor(golden: dict[str, np.ndarray], key: str) -> Tensor | None:
    return torch.from_numpy(golden[key]) if key in golden else None


def _output(logits: Tensor | None, feature: Tensor | None) -> SegmenterOutput:
    return SegmenterOutput(logits, None, {} if feature is None else {"head": feature})


def _batch(golden: dict[str, np.ndarray]) -> Batch:
    images = len(next(array for name, array in golden.items() if name.startswith("in.student")))
    target = _tensor(golden, "in.target")
    index = _tensor(golden, "in.index")
    return Batch(
        target=torch.full((images, 64, 128), 255) if target is None else target,
        index=torch.arange(images) if index is None else index,
        labelled=torch.full((images,), target is not None),
    )
