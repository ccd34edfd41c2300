import pytest
import torch

from isoclock.methods.cwd import channel_divergence
from isoclock.methods.testing import MethodContract


class TestCWDOnLogits(MethodContract):
    name = "cwd"


class TestCWDOnFeatures(MethodContract):
    name = "cwd"
    params = {"tap": "head", "projector": "conv-bn-relu"}
    size_unit = 2  # batch norm takes more than one position

    def test_the_published_divisor_is_larger_by_the_ratio_of_channels(self) -> None:
        ours, published = self.make(), self.make(divisor="student_channels")
        ratio = self.call(published)["cwd"] / self.call(ours)["cwd"]
        assert ratio.item() == pytest.approx(self.teacher.head / self.student.head, rel=1e-5)


class TestCWDAtTheBackbone(MethodContract):
    name = "cwd"
    params = {"tap": "backbone", "temperature": 1.0}


def test_divergence_does_not_see_a_channels_offset() -> None:
    student, teacher = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).double().chunk(2)
    shifted = channel_divergence(student + torch.tensor([1.0, -2.0, 30.0])[:, None, None], teacher, 4.0)
    assert shifted.item() == pytest.approx(channel_divergence(student, teacher, 4.0).item(), rel=1e-9)


class TestCWDAsInMmrazor(MethodContract):
    name = "cwd"
    params = {"temperature": 1.0, "form": "mmrazor"}

    def test_it_is_the_same_number(self) -> None:
        values = [self.call(self.make(form=form))["cwd"].item() for form in ("mmrazor", "torchdistiller")]
        assert values[0] == pytest.approx(values[1], rel=1e-5)
