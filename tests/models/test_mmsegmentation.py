"""Our PSPNet with mmsegmentation's weights gives mmsegmentation's outputs.

`goldens/mmseg_*.npz` hold outputs of mmsegmentation 1.2.2 (ResNetV1c, PSPHead, FCNHead; Apache-2.0) in float32 on a CPU, for
weights and images that a formula makes from their names.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isoclock.models import Segmenter, build_segmenter
from isoclock.models.build import parameter_count
from isoclock.models.checkpoints import load_checkpoint
from isoclock.models.encoders import build_encoder

GOLDENS = Path(__file__).parent / "goldens"
CLASSES = [f"class {number}" for number in range(19)]
PARAMS = {
    "r18c": {"encoder": "tu-resnet18", "head_channels": 128, "aux_channels": 64},
    "r101c": {"encoder": "tu-resnet101", "head_channels": 512, "aux_channels": 256},
}
V1C: dict[str, Any] = {"stem": "deep", "dilation": "mmsegmentation"}
TOLERANCE = 1e-5  # of the L2 norm


def value(name: str, shape: list[int]) -> Tensor:
    draw = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if name.endswith("running_mean"):
        found = draw.standard_normal(shape) * 0.1
    elif name.endswith("running_var"):
        found = draw.uniform(0.5, 1.5, shape)
    elif len(shape) == 4:
        found = draw.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif name.endswith("weight"):
        found = draw.uniform(0.3, 1.2, shape)
    else:
        found = draw.standard_normal(shape) * 0.1
    return torch.from_numpy(found.astype(np.float32))


def checkpoint(golden: Any) -> dict[str, Any]:
    """A file as mmsegmentation writes it."""
    tensors = {name: value(name, shape) for name, shape in json.loads(str(golden["names"])).items()}
    return {"meta": {"CLASSES": tuple(CLASSES), "PALETTE": None, "epoch": 1}, "state_dict": tensors}


def distance(found: Tensor, expected: Any) -> float:
    wanted = torch.from_numpy(expected)
    return float((found - wanted).norm() / wanted.norm())


@pytest.fixture(scope="module")
def r18c(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mmseg") / "pspnet_r18.pth"
    torch.save(checkpoint(np.load(GOLDENS / "mmseg_pspnet_r18c.npz")), path)
    return path


def imported(name: str, path: Path, **params: Any) -> Segmenter:
    network = build_segmenter("pspnet", 19, **PARAMS[name], **(V1C | params))
    classes, unused = load_checkpoint(network, path, "mmsegmentation", "pspnet", CLASSES)
    assert (classes, unused) == (CLASSES, [])
    return network.eval()


def check_outputs(network: Segmenter, golden: Any, tag: str) -> None:
    shape = tuple(golden[f"{tag}_shape"])
    images = np.random.RandomState(7).standard_normal(shape).astype(np.float32)
    with torch.no_grad():
        found = network(torch.from_numpy(images), frozenset({"logits", "aux_logits", "backbone"}))
    assert distance(found.logits, golden[f"{tag}_logits"]) < TOLERANCE
    assert distance(found.aux_logits, golden[f"{tag}_aux"]) < TOLERANCE
    assert distance(found.features["backbone"][:, ::64], golden[f"{tag}_backbone"]) < TOLERANCE


@pytest.mark.parametrize("tag", ["even", "odd"])
def test_outputs_of_r18_are_mmsegmentations(tag: str, r18c: Path) -> None:
    check_outputs(imported("r18c", r18c), np.load(GOLDENS / "mmseg_pspnet_r18c.npz"), tag)


def test_outputs_of_r101_are_mmsegmentations(tmp_path: Path) -> None:
    golden, path = np.load(GOLDENS / "mmseg_pspnet_r101c.npz"), tmp_path / "pspnet_r101.pth"
    torch.save(checkpoint(golden), path)
    check_outputs(imported("r101c", path), golden, "odd")


def test_another_rule_of_dilation_takes_every_tensor_and_gives_other_outputs(r18c: Path) -> None:
    golden = np.load(GOLDENS / "mmseg_pspnet_r18c.npz")
    with pytest.raises(AssertionError):
        check_outputs(imported("r18c", r18c, dilation="timm"), golden, "even")


@pytest.mark.parametrize("name", ["r18c", "r101c"])
def test_parameters_are_as_many_as_in_mmsegmentation(name: str) -> None:
    with torch.device("meta"):
        network = build_segmenter("pspnet", 19, **PARAMS[name], **V1C)
    assert parameter_count(network) == int(np.load(GOLDENS / f"mmseg_pspnet_{name}.npz")["parameters"])


def test_a_pretrained_backbone_is_an_encoders_start(tmp_path: Path, r18c: Path) -> None:
    tensors = torch.load(r18c)["state_dict"]
    backbone = {name.removeprefix("backbone."): tensors[name] for name in tensors if name.startswith("backbone.")}
    path = tmp_path / "resnet18_v1c.pth"
    torch.save({"meta": {}, "state_dict": backbone | {"fc.weight": torch.zeros(1000, 512)}}, path)
    encoder = build_encoder("tu-resnet18", str(path), **V1C)
    state = encoder.model.state_dict()
    assert torch.equal(state["conv1.3.weight"], backbone["stem.3.weight"])
    assert torch.equal(state["bn1.running_var"], backbone["stem.7.running_var"])
    assert len(state) == len(backbone)
    assert encoder.weights_file == path
