import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from isoclock.kernels.masking import masked_first_convolution


def inputs(student: int, teacher: int) -> tuple[nn.Conv2d, nn.Conv2d, Tensor, Tensor]:
    """Alignment, first convolution, feature and mask."""
    torch.manual_seed(0)
    align, first = nn.Conv2d(student, teacher, 1).double(), nn.Conv2d(teacher, teacher, 3, padding=1).double()
    return align, first, torch.randn(2, student, 6, 7).double(), torch.rand(2, 1, 6, 7) > 0.5


@pytest.mark.parametrize("student", [1, 7, 8, 16, 31, 40])
def test_it_is_the_convolution_of_the_aligned_and_masked_feature(student: int) -> None:
    align, first, feature, kept = inputs(student, 32)
    expected = F.conv2d(align(feature) * kept, first.weight, first.bias, padding=1)
    torch.testing.assert_close(masked_first_convolution(align, first, feature, kept), expected)


def test_products_are_those_of_the_students_channels() -> None:
    counts = {}
    for student in (15, 31):  # with the mask 16 channels, and 32, which are as many as the teacher's
        align, first, feature, kept = inputs(student, 32)
        feature = feature.repeat(1, 1, 20, 20)
        with FlopCounterMode(display=False) as counter:
            masked_first_convolution(align, first, feature, kept.repeat(1, 1, 20, 20))
        counts[student] = counter.get_total_flops()
    assert counts[15] < 0.6 * counts[31]
