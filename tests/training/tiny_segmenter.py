"""A segmenter of a few hundred weights, with everything a real one has: stages, taps, dropout, an auxiliary head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isoclock.methods import build_method
from isoclock.models.outputs import AUX_LOGITS, BACKBONE, HEAD, LOGITS, ChannelSpec, SegmenterOutput
from isoclock.models.segmenter import Segmenter
from isoclock.runner.device import choose_device
from isoclock.training.step import TrainingStep
from tiny_recipe import recipe

CLASSES = 4
CPU = torch.device("cpu")
DEVICE = choose_device()  # the CPU too, but for --device cuda


class TinySegmenter(Segmenter):
    """One strided convolution a stage; batch normalisation and dropout, whose state a resumed run has to carry."""

    auxiliary_head = True

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, width, 8, stride=8), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Conv2d(width, width + 1, 3, padding=1)
        self.classifier = nn.Sequential(nn.Dropout2d(0.3), nn.Conv2d(width + 1, CLASSES, 1))
        self.auxiliary = nn.Conv2d(width, CLASSES, 1)
        self.channels = ChannelSpec(backbone=width, head=width + 1)
        self.num_classes = CLASSES
        self.asked: list[frozenset[str]] = []

    def forward(self, images: Tensor, want: Set[str] = frozenset({LOGITS})) -> SegmenterOutput:
        """As a segmenter does; remembers what it was asked."""
        self.asked.append(frozenset(want))
        backbone = self.encoder(images)
        head = self.head(backbone)
        return SegmenterOutput(
            self.classifier(head) if LOGITS in want else None,
            self.auxiliary(backbone) if AUX_LOGITS in want else None,
            {name: tap for name, tap in ((BACKBONE, backbone), (HEAD, head)) if name in want},
        )


def batch_at(number: int) -> Mapping[str, Tensor]:
    """Batch `number` of an endless stream, a function of the number alone."""
    random = torch.Generator().manual_seed(number)
    target = torch.randint(0, CLASSES, (2, 16, 32), generator=random)
    target[:, :2] = 255
    return {
        "images": torch.randn(2, 3, 16, 32, generator=random),
        "target": target,
        "index": torch.tensor([2 * number, 2 * number + 1]),
        "labelled": torch.tensor([True, True]),
    }


def batches(start: int, iterations: int) -> Iterator[Mapping[str, Tensor]]:
    """Batches `start` to `iterations` - 1."""
    return (batch_at(number) for number in range(start, iterations))


def training_step(
    method: str = "none",
    weights: Mapping[str, float] | None = None,
    params: Mapping[str, Any] | None = None,
    **changes: Any,
) -> TrainingStep:
    """A fresh step, the same every time; `params` are the method's, `changes` the recipe's."""
    weights = dict(weights or {})
    torch.manual_seed(0)
    student, teacher = TinySegmenter(6), TinySegmenter(8)
    built = build_method(
        method,
        student=student.channels,
        teacher=teacher.channels,
        num_classes=CLASSES,
        dataset_size=100,
        active_terms=set(weights),
        **(params or {}),
    )
    built.seed(0)
    torch.manual_seed(1)
    return TrainingStep(student, built, weights, recipe(**changes), DEVICE, teacher=teacher, num_classes=CLASSES)


def by_hand_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over pixels that carry a label, one by one."""
    logits = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
    chances = logits.log_softmax(dim=1)
    output = [
        -chances[b, int(target[b, y, x]), y, x]
        for b in range(target.shape[0])
        for y in range(target.shape[1])
        for x in range(target.shape[2])
        if target[b, y, x] != 255
    ]
    return torch.stack(output).mean()
