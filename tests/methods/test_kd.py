import math

import pytest
import torch

from isoclock.methods import Batch
from isoclock.methods.testing import STRIDE, MethodContract, as_output, labels, outputs


class TestKD(MethodContract):
    name = "kd"
    params = {"temperature": 4.0}

    def test_is_zero_with_zero_gradient_where_both_agree(self) -> None:
        student = outputs(self.student)
        value = self.make()(as_output(student), as_output(student), labels())["kd"]
        value.backward()
        assert value.item() == pytest.approx(0, abs=1e-6)
        assert student["logits"].grad.abs().max() < 1e-7

    def test_one_pixel_two_classes_by_hand(self) -> None:
        student, teacher = torch.zeros(1, 5, 1, 1), torch.full((1, 5, 1, 1), -1e4)
        teacher[0, 2] = 0.0
        value = self.make(temperature=1.0)(as_output({"logits": student}), as_output({"logits": teacher}), labels(1))[
            "kd"
        ]
        assert value.item() == pytest.approx(math.log(5), rel=1e-6)


class TestMaskedKD(MethodContract):
    name = "kd"
    params = {"mask_ignored": True}

    def test_ignored_pixels_do_not_count(self) -> None:
        batch = labels()
        student, teacher = outputs(self.student), outputs(self.teacher, seed=1)
        value = self.make()(as_output(student), as_output(teacher), batch)["kd"]
        value.backward()
        ignored = batch.target[:, ::STRIDE, ::STRIDE] == 255
        reached = student["logits"].grad.abs().sum(dim=1) > 0
        assert torch.equal(reached, ~ignored)

    def test_no_pixel_is_exactly_zero(self) -> None:
        batch = labels()
        nothing = Batch(torch.full_like(batch.target, 255), batch.index, batch.labelled)
        value = self.make()(as_output(outputs(self.student)), as_output(outputs(self.teacher)), nothing)["kd"]
        assert value.item() == 0.0
