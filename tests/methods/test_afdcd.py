import math

import pytest
import torch
from torch import nn

from isoclock.errors import ParamsError
from isoclock.methods import ChannelSpec
from isoclock.methods.afdcd import patch_vectors
from isoclock.methods.testing import MethodContract, as_output, labels, outputs


class TestAfDCD(MethodContract):
    name = "afdcd"

    def test_each_term_needs_no_other(self) -> None:
        both = self.call(self.make(seed=1))
        for term, value in both.items():
            assert torch.equal(self.call(self.make(seed=1, active_terms={term}))[term], value)

    def test_groups_that_do_not_divide_the_channels_are_refused(self) -> None:
        with pytest.raises(ParamsError, match=r"afdcd\.groups: 3: must divide the teacher's 16 channels at head"):
            self.make(groups=3)
        self.make(groups=3, active_terms={"feature"})  # which does not use them

    def test_equal_channels_need_no_alignment(self) -> None:
        assert isinstance(self.make(student=self.teacher).align, nn.Identity)

    def test_one_pixel_of_two_groups_by_hand(self) -> None:
        # Group 0 of the student is 1, group 1 is 2; of the teacher 1 and 4: distances [[0, 3], [1, 2]].
        method = self.make(student=self.teacher, mask="none", projector="none", groups=2, temperature=2.0)
        student, teacher = (
            torch.tensor(pair).repeat_interleave(8)[None, :, None, None] / 8 for pair in ([1, 2], [1, 4])
        )
        value = method(as_output({"head": student}), as_output({"head": teacher}), labels(1, size=(1, 1)))["contrast"]
        expected = math.log(1 + math.exp(-1.5)) + math.log(1 + math.exp(0.5))
        assert value.item() == pytest.approx(expected, rel=1e-5)


class TestAfDCDWithTheEnhancedProjector(MethodContract):
    name = "afdcd"
    teacher = ChannelSpec(backbone=20, head=32)  # enough for tuned to fold the alignment
    params = {"projector": "enhanced", "mask": "centre"}

    def test_the_middle_third_is_masked(self) -> None:
        method = self.make()
        kept = method._kept(torch.zeros(1, 1, 9, 12), {})[0, 0]
        assert not kept[3:6, 4:8].any()
        assert kept.sum() == 9 * 12 - 3 * 4


class TestAfDCDAtTheBackbone(MethodContract):
    name = "afdcd"
    params = {"tap": "backbone", "groups": 4, "pool": 2, "temperature": 0.5}


def test_vectors_are_pieces_of_the_pixels_of_a_patch() -> None:
    feature = torch.arange(4 * 8 * 8.0).view(1, 4, 8, 8)
    vectors = patch_vectors(feature, pool=1, groups=2)
    assert vectors.shape == (4, 16 * 2, 2)
    assert vectors[1, 2 * 5 + 1].tolist() == feature[0, 2:, 1, 5].tolist()  # second patch, its pixel (1, 1), group 1


def test_leftovers_of_a_map_are_left_out() -> None:
    feature = outputs(TestAfDCD.teacher, size=(11, 18))["head"]
    assert torch.equal(patch_vectors(feature, pool=2, groups=4), patch_vectors(feature[..., :8, :16], pool=2, groups=4))
