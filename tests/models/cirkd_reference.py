"""CIRKD's PSPNet and DeepLabV3 on ResNet-18 with its deep stem, written as functions of a state dict with CIRKD's names.

After models/base_models/resnet.py, models/pspnet.py and models/deeplabv3.py of winycg/CIRKD @3514008. BGR images minus
Caffe's mean, maps resized with align_corners.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
CLASSES = 5
PLANES = (64, 128, 256, 512)
DILATIONS = (
    (1, 1, 1),
    (1, 1, 1),
    (1, 2, 2),
    (2, 4, 4),
)  # of a stage: first convolution, second, those of the second block
MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)


def logits(state: State, images: Tensor, head: str) -> tuple[Tensor, Tensor]:
    """Scores and auxiliary scores (B, K, h, w) of images (B, 3, H, W), BGR in 0..255."""
    maps = images - torch.tensor(MEAN_BGR).view(3, 1, 1)
    for number in (1, 2, 3):
        stem = f"pretrained.conv{number}", f"pretrained.bn{number}"
        maps = _conv_bn_relu(state, maps, *stem, stride=2 if number == 1 else 1, padding=1)
    maps = F.max_pool2d(maps, 3, 2, 1)
    stages = []
    for number, (first, second, later) in enumerate(DILATIONS):
        stride = 2 if number == 1 else 1
        maps = _block(state, f"pretrained.layer{number + 1}.0", maps, stride, first, second)
        maps = _block(state, f"pretrained.layer{number + 1}.1", maps, 1, later, later)
        stages.append(maps)
    auxiliary = _conv_bn_relu(state, stages[2], "auxlayer.block.0", "auxlayer.block.1", padding=1)
    scores = (_pspnet if head == "pspnet" else _deeplabv3)(state, maps)
    return scores, _conv(state, auxiliary, "auxlayer.block.4")


def random_state(head: str) -> State:
    """A state dict of CIRKD's names and shapes; values are random."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(conv: str, norm: str | None, given: int, out: int, kernel: int) -> None:
        shapes[f"{conv}.weight"] = (out, given, kernel, kernel)
        if norm is None:
            shapes[f"{conv}.bias"] = (out,)
            return
        shapes.update({f"{norm}.{name}": (out,) for name in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{norm}.num_batches_tracked"] = ()

    for number, (given, out) in enumerate(((3, 64), (64, 64), (64, 128)), start=1):
        add(f"pretrained.conv{number}", f"pretrained.bn{number}", given, out, 3)
    before = 128
    for number, planes in enumerate(PLANES, start=1):
        for block in (0, 1):
            name = f"pretrained.layer{number}.{block}"
            add(f"{name}.conv1", f"{name}.bn1", before, planes, 3)
            add(f"{name}.conv2", f"{name}.bn2", planes, planes, 3)
            if block == 0:
                add(f"{name}.downsample.0", f"{name}.downsample.1", before, planes, 1)
            before = planes
    add("auxlayer.block.0", "auxlayer.block.1", 256, 64, 3)
    add("auxlayer.block.4", None, 64, CLASSES, 1)
    if head == "pspnet":
        for number in (1, 2, 3, 4):
            add(f"head.psp.conv{number}.0", f"head.psp.conv{number}.1", 512, 128, 1)
        add("head.block.0", "head.block.1", 1024, 128, 3)
        add("head.classifier", None, 128, CLASSES, 1)
    else:
        add("head.aspp.b0.0", "head.aspp.b0.1", 512, 512, 1)
        for number in (1, 2, 3):
            add(f"head.aspp.b{number}.block.0", f"head.aspp.b{number}.block.1", 512, 512, 3)
        add("head.aspp.b4.gap.1", "head.aspp.b4.gap.2", 512, 512, 1)
        add("head.aspp.project.0", "head.aspp.project.1", 2560, 512, 1)
        add("head.block.0", "head.block.1", 512, 512, 3)
        add("head.block.4", None, 512, CLASSES, 1)
    generator = torch.Generator().manual_seed(3)
    return {name: _value(name, shape, generator) for name, shape in shapes.items()}


def _value(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    drawn = torch.rand(shape, generator=generator)
    if len(shape) == 4:
        return (drawn - 0.5) * 3.5 / (shape[1] * shape[2] * shape[3]) ** 0.5
    return drawn + 0.5 if name.endswith(("weight", "var")) else drawn - 0.5


def _conv(state: State, maps: Tensor, name: str, **options: int) -> Tensor:
    return F.conv2d(maps, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)


def _norm(state: State, maps: Tensor, name: str) -> Tensor:
    mean, var, weight, bias = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(maps, mean, var, weight, bias)


def _conv_bn_relu(state: State, maps: Tensor, conv: str, norm: str, **options: int) -> Tensor:
    return F.relu(_norm(state, _conv(state, maps, conv, **options), norm))


def _block(state: State, name: str, maps: Tensor, stride: int, first: int, second: int) -> Tensor:
    found = _conv_bn_relu(state, maps, f"{name}.conv1", f"{name}.bn1", stride=stride, padding=first, dilation=first)
    found = _norm(state, _conv(state, found, f"{name}.conv2", padding=second, dilation=second), f"{name}.bn2")
    if f"{name}.downsample.0.weight" in state:
        maps = _norm(state, _conv(state, maps, f"{name}.downsample.0", stride=stride), f"{name}.downsample.1")
    return F.relu(found + maps)


def _up(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=True)


def _pspnet(state: State, maps: Tensor) -> Tensor:
    joined = [maps]
    for number, bins in enumerate((1, 2, 3, 6), start=1):
        name = f"head.psp.conv{number}"
        pooled = F.adaptive_avg_pool2d(maps, bins)
        joined.append(_up(_conv_bn_relu(state, pooled, f"{name}.0", f"{name}.1"), maps))
    found = _conv_bn_relu(state, torch.cat(joined, 1), "head.block.0", "head.block.1", padding=1)
    return _conv(state, found, "head.classifier")


def _deeplabv3(state: State, maps: Tensor) -> Tensor:
    run: Callable[..., Tensor] = lambda given, name, first, **o: _conv_bn_relu(  # noqa: E731
        state, given, f"{name}.{first}", f"{name}.{first + 1}", **o
    )
    joined = [run(maps, "head.aspp.b0", 0)]
    for number, rate in ((1, 12), (2, 24), (3, 36)):
        joined.append(run(maps, f"head.aspp.b{number}.block", 0, padding=rate, dilation=rate))
    joined.append(_up(run(maps.mean((2, 3), keepdim=True), "head.aspp.b4.gap", 1), maps))
    found = run(torch.cat(joined, 1), "head.aspp.project", 0)
    return _conv(state, run(found, "head.block", 0, padding=1), "head.block.4")
