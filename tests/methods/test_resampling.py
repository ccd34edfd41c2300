"""The one rule by which a teacher's maps get the student's size."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from isoclock.methods.resampling import on_grid_of, resampled
from isoclock.models.outputs import SegmenterOutput


def test_shrinking_is_the_mean_of_what_a_pixel_covers() -> None:
    feature = torch.randn(2, 3, 8, 12)
    torch.testing.assert_close(resampled(feature, (4, 6)), F.avg_pool2d(feature, 2))
    torch.testing.assert_close(resampled(feature, (2, 3)), F.avg_pool2d(feature, 4))
    torch.testing.assert_close(
        resampled(feature, (4, 6)), F.interpolate(feature, (4, 6), mode="bilinear", align_corners=False)
    )


def test_growing_is_bilinear() -> None:
    feature = torch.randn(2, 3, 4, 6)
    expected = F.interpolate(feature, (16, 24), mode="bilinear", align_corners=False)
    assert torch.equal(resampled(feature, (16, 24)), expected)
    both = resampled(feature, (2, 12))  # one side shrinks, the other grows
    assert torch.equal(both, F.interpolate(F.adaptive_avg_pool2d(feature, (2, 6)), (2, 12), mode="bilinear"))


def test_sides_that_are_no_multiples() -> None:
    assert resampled(torch.ones(1, 2, 45, 60), (23, 30)).eq(1).all()


def test_every_output_is_moved_and_equal_sizes_cost_nothing() -> None:
    student = SegmenterOutput(
        torch.zeros(1, 5, 4, 4), None, {"head": torch.zeros(1, 2, 4, 4), "stem": torch.zeros(1, 1, 2, 2)}
    )
    teacher = SegmenterOutput(
        torch.randn(1, 5, 8, 8),
        torch.randn(1, 5, 3, 3),
        {"head": torch.randn(1, 7, 1, 1), "only": torch.randn(1, 2, 9, 9)},
    )
    moved = on_grid_of(student, teacher)
    sizes = {
        name: tuple(value.shape[-2:])
        for name in ("logits", "aux_logits", "head", "only")
        if (value := moved.get(name)) is not None
    }
    assert sizes == {"logits": (4, 4), "aux_logits": (3, 3), "head": (4, 4), "only": (9, 9)}
    assert moved.aux_logits is teacher.aux_logits
    assert on_grid_of(student, moved) is moved
