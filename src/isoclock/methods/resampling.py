"""The one rule by which a teacher's maps get the size of its student's, where the two networks have other strides."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from isoclock.models.outputs import SegmenterOutput


def on_grid_of(student: SegmenterOutput, teacher: SegmenterOutput) -> SegmenterOutput:
    """The teacher's outputs, each resampled to the size of the student's output of the same name.

    An output that the student did not give stays as it is. The same object is returned where all sizes are equal.
    """
    sizes = {name: _size(feature) for name, feature in student.features.items()}
    moved = SegmenterOutput(
        _like(teacher.logits, student.logits),
        _like(teacher.aux_logits, student.aux_logits),
        {name: resampled(feature, sizes.get(name, _size(feature))) for name, feature in teacher.features.items()},
    )
    same = moved.logits is teacher.logits and moved.aux_logits is teacher.aux_logits
    same = same and all(feature is teacher.features[name] for name, feature in moved.features.items())
    return teacher if same else moved


def resampled(feature: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, h, w) -> (B, C, *size): where a side shrinks, the mean of what a pixel covers; where it grows, bilinear.

    Every pixel of the map counts when it shrinks, unlike in bilinear interpolation, which reads two pixels of a side. For a
    factor of 2 both are the mean of 2 x 2 pixels. Growing has align_corners=False, like every enlargement of this package.
    Logits are resampled as they are: before the softmax, as feature maps.
    """
    smaller = min(size[0], feature.shape[-2]), min(size[1], feature.shape[-1])
    if smaller != _size(feature):
        feature = F.adaptive_avg_pool2d(feature, smaller)
    if smaller != size:
        feature = F.interpolate(feature, size, mode="bilinear", align_corners=False)
    return feature


def _like(theirs: Tensor | None, ours: Tensor | None) -> Tensor | None:
    return theirs if theirs is None or ours is None else resampled(theirs, _size(ours))


def _size(feature: Tensor) -> tuple[int, int]:
    return feature.shape[-2], feature.shape[-1]
