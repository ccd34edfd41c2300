import math

import pytest
import torch

from isoclock.methods import Batch
from isoclock.methods.testing import STRIDE, MethodContract, as_output, labels, outputs


class TestNKD(MethodContract):
    name = "nkd"

    def test_one_pixel_three_classes_by_hand(self) -> None:
        student = torch.tensor([0.2, 0.3, 0.5]).log().view(1, 3, 1, 1)
        teacher = torch.tensor([0.6, 0.1, 0.3]).log().view(1, 3, 1, 1)
        batch = Batch(torch.zeros(1, 8, 8, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), torch.ones(1).bool())
        terms = self.make(num_classes=3)(as_output({"logits": student}), as_output({"logits": teacher}), batch)
        assert terms["nkd_target"].item() == pytest.approx(-0.6 * math.log(0.2), rel=1e-5)
        by_hand = -(0.25 * math.log(0.3 / 0.8) + 0.75 * math.log(0.5 / 0.8))
        assert terms["nkd_nontarget"].item() == pytest.approx(by_hand, rel=1e-5)

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


class TestTemperedNKD(MethodContract):
    name = "nkd"
    params = {"temperature": 2.0}

    def test_the_temperature_is_not_the_targets(self) -> None:
        tempered, plain = self.call(self.make()), self.call(self.make(temperature=1.0))
        assert tempered["nkd_target"].item() == pytest.approx(plain["nkd_target"].item(), rel=1e-5)
        assert tempered["nkd_nontarget"].item() > 2 * plain["nkd_nontarget"].item()
