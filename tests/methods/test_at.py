import pytest
import torch

from isoclock.methods.testing import MethodContract, as_output, labels, outputs
from isoclock.models import SegmenterOutput


class TestAT(MethodContract):
    name = "at"

    def test_neither_scale_nor_sign_nor_the_number_of_channels_matters(self) -> None:
        method = self.make()
        feature = outputs(self.teacher)["head"].detach()
        alike = torch.cat([feature, -feature], dim=1) * 7.0
        terms = method(as_output({"head": feature}), as_output({"head": alike}), labels())
        assert terms["at"].item() == pytest.approx(0.0, abs=1e-12)

    def test_two_pixels_by_hand(self) -> None:
        ours, theirs = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])  # attention (1, 0) and (0, 1)
        student, teacher = (SegmenterOutput(None, None, {"head": one.view(1, 1, 1, 2)}) for one in (ours, theirs))
        assert self.make()(student, teacher, labels(1, size=(1, 2)))["at"].item() == pytest.approx(1.0)


class TestATAtTheBackbone(MethodContract):
    name = "at"
    params = {"tap": "backbone"}
