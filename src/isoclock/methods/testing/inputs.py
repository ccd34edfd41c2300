"""Random outputs of two networks, and labels, to call a method with."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from isoclock.labels import IGNORE
from isoclock.methods.contract import Batch
from isoclock.models.outputs import TAPS, ChannelSpec, SegmenterOutput

STUDENT, TEACHER = ChannelSpec(backbone=12, head=8), ChannelSpec(backbone=20, head=16)
CLASSES, HEIGHT, WIDTH = 5, 8, 16
STRIDE = 8
"""Pixels of a label map for each position of the outputs, in each direction."""


def outputs(
    spec: ChannelSpec,
    *,
    images: int = 3,
    seed: int = 0,
    scale: float = 1.0,
    classes: int = CLASSES,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> dict[str, Tensor]:
    """Every output of a network by name, (images, channels, *size), normal of deviation `scale`; they require gradients."""
    generator = torch.Generator().manual_seed(seed)
    channels = {"logits": classes, "aux_logits": classes, "backbone": spec.backbone, "head": spec.head}
    return {
        name: (scale * torch.randn(images, count, *size, generator=generator)).requires_grad_()
        for name, count in channels.items()
    }


def as_output(tensors: Mapping[str, Tensor]) -> SegmenterOutput:
    """The tensors, by name, as the output of a network; missing names are outputs that were not asked for."""
    features = {name: tensors[name] for name in sorted(TAPS) if name in tensors}
    return SegmenterOutput(tensors.get("logits"), tensors.get("aux_logits"), features)


def labels(images: int = 3, *, classes: int = CLASSES, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Batch:
    """Random labels in patches, with an ignored strip, for outputs of `size`; the last of several images is unlabelled."""
    generator = torch.Generator().manual_seed(9)
    patches = torch.randint(0, classes, (images, size[0] * 2, size[1] * 2), generator=generator)
    target = patches.repeat_interleave(STRIDE // 2, 1).repeat_interleave(STRIDE // 2, 2)
    target[:, : STRIDE * max(1, size[0] // 4)] = IGNORE
    labelled = torch.ones(images, dtype=torch.bool)
    if images > 1:
        labelled[-1] = False
        target[-1] = IGNORE
    return Batch(target=target.to(torch.uint8), index=torch.arange(images), labelled=labelled)
