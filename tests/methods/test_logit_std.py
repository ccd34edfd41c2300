import pytest
import torch

from isoclock.methods.testing import MethodContract, as_output, labels, outputs


class TestLogitStd(MethodContract):
    name = "logit_std"

    def test_neither_size_nor_offset_of_the_logits_counts(self) -> None:
        method, teacher = self.make(), outputs(self.teacher, seed=1)
        student = {"logits": 7 * teacher["logits"].detach() + 3}
        value = method(as_output(student), as_output(teacher), labels())["logit_std"]
        assert value.item() == pytest.approx(0, abs=1e-6)

    def test_a_pixel_of_equal_logits_is_the_uniform_distribution(self) -> None:
        still = torch.full((1, 5, 1, 1), 2.0, requires_grad=True)
        teacher = torch.tensor([3.0, 0.0, 0.0, 0.0, 0.0]).view(1, 5, 1, 1)
        value = self.make()(as_output({"logits": still}), as_output({"logits": teacher}), labels(1))["logit_std"]
        value.backward()
        shares = ((teacher.flatten() - 0.6) / teacher.std() / 2).softmax(0)
        expected = 4 * (shares * (shares * 5).log()).sum()
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)
        assert still.grad.isfinite().all()
