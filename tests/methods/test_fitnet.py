import pytest
import torch

from isoclock.methods.testing import MethodContract, as_output, labels, outputs


class TestFitNet(MethodContract):
    name = "fitnet"

    def test_it_is_the_mean_squared_difference(self) -> None:
        method = self.make(student=self.teacher)
        torch.nn.init.dirac_(method.projector.weight)
        teacher = outputs(self.teacher)
        student = {name: leaf + 3.0 for name, leaf in teacher.items()}
        assert method(as_output(student), as_output(teacher), labels())["fitnet"].item() == pytest.approx(9.0, rel=1e-5)
        assert method(as_output(teacher), as_output(teacher), labels())["fitnet"].item() == pytest.approx(0, abs=1e-12)


class TestFitNetAtTheBackbone(MethodContract):
    name = "fitnet"
    least_images = 2  # of one pixel: a batch norm takes no single value
    params = {"tap": "backbone", "projector": "conv-bn"}

    def test_needs_neither_head_nor_logits(self) -> None:
        assert self.make().teacher_needs == {"backbone"}


class TestFitNetWithABias(MethodContract):
    name = "fitnet"
    params = {"projector": "conv-bias"}


class TestFitNetOfStandardisedChannels(MethodContract):
    name = "fitnet"
    params = {"normalise": "channel"}

    def test_it_is_twice_pkd(self) -> None:
        ours, theirs = self.make(seed=2), self.make(seed=2)
        assert ours.settings["normalise"] == "channel"
        pkd = TestFitNet.make.__get__(_PKD())(seed=2, implementation=self.implementation)
        assert torch.equal(pkd.projector.weight, theirs.projector.weight)
        assert self.call(ours)["fitnet"].item() == pytest.approx(2 * self.call(pkd)["pkd"].item(), rel=1e-6)


class _PKD(MethodContract):
    __test__ = False
    name = "pkd"


class TestFitNetOfUnitPixels(MethodContract):
    name = "fitnet"
    least_images = 2  # of one pixel: a batch norm takes no single value
    params = {"normalise": "pixel", "projector": "conv-bn-relu"}
