import pytest
import torch

from isoclock.methods.testing import MethodContract, as_output, labels, outputs


class TestCC(MethodContract):
    name = "cc"

    def test_one_image_has_no_neighbour(self) -> None:
        student = outputs(self.student, images=1)
        value = self.make()(as_output(student), as_output(outputs(self.teacher, images=1, seed=1)), labels(1))["cc"]
        value.backward()
        assert value.item() == 0
        assert student["head"].grad is not None
        assert not student["head"].grad.any()

    def test_a_value_by_hand(self) -> None:
        method = self.make(embedding=2)
        student = torch.tensor([1.0, 2.0, 4.0])[:, None, None, None].expand(3, self.student.head, 2, 2)
        teacher = torch.zeros(3, self.teacher.head, 2, 2)
        with torch.no_grad():
            for embed in (method.embed_student, method.embed_teacher):
                embed.weight.zero_()
                embed.bias.zero_()
            method.embed_student.weight[:, 0] = torch.tensor([1.0, -3.0])
        value = method(as_output({"head": student}), as_output({"head": teacher}), labels(size=(2, 2)))["cc"]
        assert value.item() == pytest.approx(((1 * 2 + 3 * 6) + (2 * 4 + 6 * 12)) / 2)


class TestCCAtTheBackbone(MethodContract):
    name = "cc"
    params = {"tap": "backbone", "embedding": 6}
