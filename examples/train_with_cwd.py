"""Train a small network with channel-wise distillation in your own script. The losses do not need the pipeline.

python examples/train_with_cwd.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isoclock.methods import CWD, Batch, ChannelSpec
from isoclock.models import SegmenterOutput

CLASSES, WEIGHT = 19, 3.0


class Network(nn.Module):
    """Any network works that returns logits, and the features that a method taps, at one stride."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, width, 8, stride=8), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.classifier = nn.Conv2d(width, CLASSES, 1)
        self.channels = ChannelSpec(backbone=width, head=width)

    def forward(self, images: Tensor) -> SegmenterOutput:
        """Logits and both taps, (B, C, h, w) at an eighth of the images' size."""
        backbone = self.encoder(images)
        head = self.head(backbone)
        return SegmenterOutput(self.classifier(head), None, {"backbone": backbone, "head": head})


def main(steps: int = 5) -> None:
    """Train a few steps on random images and print the losses."""
    torch.manual_seed(0)
    teacher, student = Network(32).eval(), Network(8)
    distil = CWD(student=student.channels, teacher=teacher.channels, num_classes=CLASSES, tap="head")
    # `adapters` are trained together with the student: here, a projector from 8 to 32 channels.
    optimiser = torch.optim.SGD([*student.parameters(), *distil.adapters()], lr=0.01, momentum=0.9)
    for step in range(steps):
        images, target = torch.randn(2, 3, 64, 128), torch.randint(CLASSES, (2, 64, 128))
        batch = Batch(target=target, index=torch.arange(2), labelled=torch.ones(2, dtype=torch.bool))
        with torch.no_grad():
            taught = teacher(images)
        output = student(images)
        task = F.cross_entropy(F.interpolate(output.logits, target.shape[-2:], mode="bilinear"), target)
        term = distil(output, taught, batch)["cwd"]  # unweighted: multiply it by your weight
        optimiser.zero_grad()
        (task + WEIGHT * term).backward()
        optimiser.step()
        print(f"step {step}: cross-entropy {task.item():.4f}, cwd {term.item():.4f}")


if __name__ == "__main__":
    main()
