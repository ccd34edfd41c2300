import pytest
import torch

from isoclock.methods.testing import MethodContract, as_output, labels, outputs


class TestPKD(MethodContract):
    name = "pkd"

    def test_it_is_one_minus_the_correlation(self) -> None:
        method = self.make(student=self.teacher, images_per_group=0).double()
        torch.nn.init.dirac_(method.projector.weight)
        student, teacher = (outputs(self.teacher, seed=seed)["head"].detach().double() for seed in (1, 2))
        value = method(as_output({"head": student}), as_output({"head": teacher}), labels())["pkd"].item()
        rows = [one.transpose(0, 1).flatten(1) for one in (student, teacher)]
        correlation = [torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in zip(*rows, strict=True)]
        positions = rows[0].shape[1]
        expected = (1 - sum(correlation) / len(correlation)) * (positions - 1) / positions
        assert value == pytest.approx(expected, rel=1e-4)  # but for the 1e-6 in the deviation

    def test_a_channel_that_never_changes_gives_no_nan(self) -> None:
        method = self.make()
        student, teacher = outputs(self.student), outputs(self.teacher)
        still = {"head": torch.zeros_like(teacher["head"])}
        dead = {"head": torch.zeros_like(student["head"], requires_grad=True)}
        for ours, theirs in ((student, still), (dead, teacher)):
            value = method(as_output(ours), as_output(theirs), labels())["pkd"]
            value.backward()
            assert value.isfinite()
            assert ours["head"].grad.isfinite().all()
            assert method.projector.weight.grad.isfinite().all()


class TestPKDAtTheBackbone(MethodContract):
    name = "pkd"
    params = {"tap": "backbone", "projector": "conv-bias"}


class TestPKDBehindABatchNorm(MethodContract):
    name = "pkd"
    least_images = 2  # of one pixel: a batch norm takes no single value
    params = {"projector": "conv-bn"}
