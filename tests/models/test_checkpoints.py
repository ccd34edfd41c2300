"""Checkpoints of CIRKD, torchvision and this package give the outputs of their own networks; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cirkd_reference as cirkd
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from isoclock.errors import ArtifactError, UserError
from isoclock.models import Segmenter, build_segmenter
from isoclock.models.checkpoint_formats import FORMATS, format_problems
from isoclock.models.checkpoints import load_checkpoint
from isoclock.models.testing import Subject
from isoclock.params.schema import Model
from isoclock.runner.importing import described

NAMES = [f"class {number}" for number in range(5)]
SMALL = {"encoder": "tu-test_resnet", "head_channels": 8, "aux_channels": 4}
CIRKD: dict[str, dict[str, Any]] = {
    "pspnet": {"encoder": "tu-resnet18", "stem": "deep64", "pixels": "caffe", "align_corners": True, "head_channels": 128,
               "aux_channels": 64},
    "deeplabv3": {"encoder": "tu-resnet18", "stem": "deep64", "pixels": "caffe", "head_channels": 512, "aux_channels": 64},
}  # fmt: skip
TORCHVISION = {
    "deeplabv3": (torchvision.models.segmentation.deeplabv3_resnet50, 256),
    "fcn": (torchvision.models.segmentation.fcn_resnet50, 512),
}


def both(network: Segmenter, images: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        found = network.eval()(images, frozenset({"logits", "aux_logits"}))
    assert found.logits is not None
    assert found.aux_logits is not None
    return found.logits, found.aux_logits


def saved(path: Path, network: Segmenter) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return path


@pytest.mark.parametrize("head", ["pspnet", "deeplabv3"])
def test_cirkd(head: str, tmp_path: Path) -> None:
    state, path = cirkd.random_state(head), tmp_path / "cirkd.pth"
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, path)
    network = build_segmenter(head, 5, **CIRKD[head])
    assert load_checkpoint(network, path, "cirkd", head, NAMES, NAMES) == (NAMES, [])
    rgb = torch.randint(0, 256, (2, 3, 57, 80), generator=torch.Generator().manual_seed(1)).float()
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        expected = cirkd.logits(state, rgb.flip(1), head)
    for ours, theirs in zip(both(network, (rgb / 255 - mean) / std), expected, strict=True):
        assert (ours - theirs).norm() < 1e-5 * theirs.norm()


@pytest.mark.parametrize("head", ["deeplabv3", pytest.param("fcn", marks=pytest.mark.test_all)])
def test_torchvision(head: str, tmp_path: Path) -> None:
    build, head_channels = TORCHVISION[head]
    torch.manual_seed(2)
    theirs = build(weights=None, weights_backbone=None, num_classes=5, aux_loss=True).eval()
    path, images = tmp_path / "torchvision.pth", torch.randn(1, 3, 64, 48)
    torch.save(theirs.state_dict(), path)
    params = {"encoder": "tu-resnet50", "stem": "plain", "head_channels": head_channels, "aux_channels": 256}
    network = build_segmenter(head, 5, **params)
    assert load_checkpoint(network, path, "torchvision", head, NAMES, NAMES) == (NAMES, [])
    with torch.no_grad():
        stages = theirs.backbone(images)
        expected = theirs.classifier(stages["out"]), theirs.aux_classifier(stages["aux"])
    for ours, wanted in zip(both(network, images), expected, strict=True):
        assert (ours - wanted).norm() < 1e-5 * wanted.norm()


def test_our_own_weights_with_classes_in_another_order(tmp_path: Path) -> None:
    subject = Subject("pspnet", SMALL)
    trained, network = subject.make(0), subject.make(1)
    there = ["Sky", "a road", "car", "pole", "tree"]
    here = ["car", "tree", "sky", "pole", "a-road"]
    path = saved(tmp_path / "w.safetensors", trained)
    assert load_checkpoint(network, path, "isoclock", "pspnet", here, there) == (there, [])
    order = [2, 4, 0, 3, 1]
    for ours, theirs in zip(both(network, subject.images()), both(trained, subject.images()), strict=True):
        assert torch.equal(ours, theirs[:, order])


def test_classes_are_compared_by_name(tmp_path: Path) -> None:
    subject = Subject("pspnet", SMALL)
    path = saved(tmp_path / "w.safetensors", subject.make())
    with pytest.raises(ArtifactError, match="has no class names; list them"):
        load_checkpoint(subject.make(), path, "isoclock", "pspnet", NAMES)
    with pytest.raises(ArtifactError, match="its class names differ from the data set's"):
        load_checkpoint(subject.make(), path, "isoclock", "pspnet", NAMES, [*NAMES[:4], "boat"])
    with pytest.raises(ArtifactError, match="has 4 classes, and the data set has 5"):
        load_checkpoint(subject.make(), path, "isoclock", "pspnet", NAMES, NAMES[:4])


def test_a_network_that_cannot_be_reordered_says_so() -> None:
    with pytest.raises(UserError, match="its 5 classes are in another order"):
        Segmenter.reorder_classes(Subject("pspnet", SMALL).make(), range(5))


def test_every_tensor_is_used_or_listed(tmp_path: Path) -> None:
    network = Subject("pspnet", SMALL).make()
    path = tmp_path / "w.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors | {"ema.decay": torch.zeros(1), "extra": torch.zeros(2)}, path)
    assert load_checkpoint(network, path, "isoclock", "pspnet", NAMES, NAMES) == (NAMES, ["ema.decay", "extra"])
    save_file({name: tensors[name] for name in tensors if name != "bottleneck.0.weight"}, path)
    with pytest.raises(
        ArtifactError, match=r"lacks 1 of \d+ tensors \(bottleneck\.0\.weight .*correct the model's params"
    ):
        load_checkpoint(network, path, "isoclock", "pspnet", NAMES, NAMES)
    save_file(tensors | {"classifier.1.bias": torch.zeros(4)}, path)
    with pytest.raises(ArtifactError, match=r"classifier\.1\.bias has shape \(4,\), in the network \(5,\)"):
        load_checkpoint(network, path, "isoclock", "pspnet", NAMES, NAMES)


def test_two_tensors_for_one_are_refused(tmp_path: Path) -> None:
    network, path = Subject("pspnet", SMALL).make(), tmp_path / "w.pth"
    tensors = network.state_dict()
    torch.save(tensors | {"module.classifier.1.bias": torch.zeros(5)}, path)
    with pytest.raises(ArtifactError, match="two of its tensors are one of the network's"):
        load_checkpoint(network, path, "isoclock", "pspnet", NAMES, NAMES)


def test_params_that_names_of_tensors_do_not_show_are_fixed_by_the_format() -> None:
    right = {"dilation": "mmsegmentation", "align_corners": False, "pixels": "imagenet", "stem": "deep"}
    assert format_problems("mmsegmentation", "pspnet", right) == []
    assert format_problems("mmsegmentation", "pspnet", right | {"dilation": "timm"}) == [
        "params.dilation: 'timm': must be 'mmsegmentation' for a checkpoint of format mmsegmentation"
    ]
    assert format_problems("mmsegmentation", "fcn", right) == [
        "checkpoint.format: 'mmsegmentation': not for fcn; choose from torchvision, isoclock"
    ]
    assert all(
        format_problems(name, "pspnet", right)[:1] for name in FORMATS if name not in ("mmsegmentation", "isoclock")
    )


def test_a_file_is_described_with_the_entry_that_imports_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", Subject("pspnet", SMALL).make())
    model = Model(architecture="pspnet", params=SMALL, weights="random", provenance={"*": "ours"})
    lines = described("psp", model, path, named=NAMES).splitlines()
    assert lines[0].startswith(f"{path}: format isoclock, ")
    assert lines[1:3] == ["not used: none", f"5 classes: {', '.join(NAMES)}"]
    assert lines[6:8] == [f"      path: {path}", "      format: isoclock"]
    wider = Model(
        architecture="pspnet", params=SMALL | {"head_channels": 9}, weights="random", provenance={"*": "ours"}
    )
    with pytest.raises(
        ArtifactError, match=r"does not fit psp: mmsegmentation: no classifier \| .*isoclock: .* has shape"
    ):
        described("psp", wider, path)


def test_a_file_of_an_encoder_is_described_as_such(tmp_path: Path) -> None:
    path = tmp_path / "encoder.pth"
    torch.save(Subject("pspnet", SMALL).make().encoder.model.state_dict(), path)
    model = Model(architecture="pspnet", params=SMALL, weights="random", provenance={"*": "ours"})
    assert f"    weights: {path}" in described("psp", model, path).splitlines()
