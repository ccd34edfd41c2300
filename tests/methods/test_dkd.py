import pytest
import torch
import torch.nn.functional as F

from isoclock.methods import Batch
from isoclock.methods.testing import STRIDE, MethodContract, as_output, labels, outputs


class TestDKD(MethodContract):
    name = "dkd"

    def test_both_together_are_plain_kd_where_the_teacher_is_equally_unsure(self) -> None:
        student, teacher, batch = outputs(self.student), outputs(self.teacher, seed=1), labels()
        target = batch.target[:, ::STRIDE, ::STRIDE].long()
        known = target != 255
        with torch.no_grad():  # the label's logit such that its share is 0.7 everywhere
            logits = teacher["logits"]
            index = (target * known)[:, None]
            others = logits.scatter(1, index, -torch.inf).div(4).logsumexp(dim=1, keepdim=True)
            logits.scatter_(1, index, 4 * (others + torch.tensor(0.7 / 0.3).log()))
        terms = self.make()(as_output(student), as_output(teacher), batch)
        ours, theirs = F.log_softmax(student["logits"] / 4, dim=1), F.softmax(logits / 4, dim=1)
        plain = 16 * F.kl_div(ours, theirs, reduction="none").sum(dim=1)[known].mean()
        assert (terms["tckd"] + 0.3 * terms["nckd"]).item() == pytest.approx(plain.item(), rel=1e-5)

    def test_ignored_pixels_do_not_count(self) -> None:
        batch = labels()
        student, teacher = outputs(self.student), outputs(self.teacher, seed=1)
        terms = self.make()(as_output(student), as_output(teacher), batch)
        ignored = batch.target[:, ::STRIDE, ::STRIDE] == 255
        for value in terms.values():
            (gradient,) = torch.autograd.grad(value, student["logits"], retain_graph=True)
            assert torch.equal(gradient.abs().sum(dim=1) > 0, ~ignored)

    def test_no_label_at_all_is_exactly_zero(self) -> None:
        batch = labels()
        nothing = Batch(torch.full_like(batch.target, 255), batch.index, batch.labelled)
        student = outputs(self.student)
        terms = self.make()(as_output(student), as_output(outputs(self.teacher, seed=1)), nothing)
        torch.stack(list(terms.values())).sum().backward()
        assert [value.item() for value in terms.values()] == [0.0, 0.0]
        assert not student["logits"].grad.any()

    def test_is_zero_where_both_agree(self) -> None:
        student = outputs(self.student)
        for value in self.make()(as_output(student), as_output(student), labels()).values():
            assert value.item() == pytest.approx(0, abs=1e-5)

    def test_a_second_backward_finds_the_same_gradient(self) -> None:
        student = outputs(self.student)
        value = self.make()(as_output(student), as_output(outputs(self.teacher, seed=1)), labels())["nckd"]
        first, second = (torch.autograd.grad(value, student["logits"], retain_graph=True)[0] for _ in range(2))
        torch.testing.assert_close(first, second)


class TestDKDAtTemperatureOne(MethodContract):
    name = "dkd"
    params = {"temperature": 1.0}
