"""Made-up outputs of two networks, and labels, to try a method on."""

from __future__ import annotations

import torch
from torch import Tensor

from isoclock.methods import Batch, ChannelSpec
from isoclock.models import SegmenterOutput

STUDENT, TEACHER = ChannelSpec(backbone=12, head=8), ChannelSpec(backbone=20, head=16)
CLASSES, HEIGHT, WIDTH, STRIDE = 5, 8, 16, 8


def outputs(
    spec: ChannelSpec,
    *,
    images: int = 3,
    seed: int = 0,
    scale: float = 1.0,
    classes: int = CLASSES,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> dict[str, Tensor]:
    """Every output of a made-up network, leaves that want gradients."""
    generator = torch.Generator().manual_seed(seed)
    channels = {"logits": classes, "aux_logits": classes, "backbone": spec.backbone, "head": spec.head}
    return {
        name: (scale * torch.randn(images, count, *size, generator=generator)).requires_grad_()
        for name, count in channels.items()
    }


def as_output(tensors: dict[str, Tensor]) -> SegmenterOutput:
    features = {name: tensors[name] for name in ("backbone", "head") if name in tensors}
    return SegmenterOutput(tensors.get("logits"), tensors.get("aux_logits"), features)


def labels(images: int = 3, *, classes: int = CLASSES, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Batch:
    """Random labels in patches, with an ignored strip; the last image of several is unlabelled."""
    generator = torch.Generator().manual_seed(9)
    patches = torch.randint(0, classes, (images, size[0] * 2, size[1] * 2), generator=generator)
    target = patches.repeat_interleave(STRIDE // 2, 1).repeat_interleave(STRIDE // 2, 2)
    target[:, : STRIDE * max(1, size[0] // 4)] = 255
    labelled = torch.ones(images, dtype=torch.bool)
    if images > 1:
        labelled[-1] = False
        target[-1] = 255
    return Batch(target=target.to(torch.uint8), index=torch.arange(images), labelled=labelled)
