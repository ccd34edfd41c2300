import pytest
import torch
from torch import Tensor

from isoclock.methods import Batch
from isoclock.methods.testing import CLASSES, MethodContract, as_output, labels, outputs


class TestIFVD(MethodContract):
    name = "ifvd"

    def value(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        batch = Batch(
            target=target, index=torch.arange(len(target)), labelled=torch.ones(len(target), dtype=torch.bool)
        )
        return self.make()(as_output({"head": student}), as_output({"head": teacher}), batch)["ifvd"]

    def test_value_by_hand(self) -> None:
        # Two pixels of one class: centre (1/2, 1/2), so both are at 45 degrees; the teacher's are both at 0 degrees.
        student = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
        teacher = torch.ones(1, 3, 1, 2)
        target = torch.full((1, 8, 16), 2)
        torch.testing.assert_close(self.value(student, teacher, target).item(), (1 - 0.5**0.5) ** 2)

    def test_pixels_without_a_class_add_nothing_but_count(self) -> None:
        student, teacher = torch.randn(1, 4, 2, 6), torch.randn(1, 7, 2, 6)
        target = torch.randint(0, CLASSES, (1, 2, 6)).repeat_interleave(8, 1).repeat_interleave(8, 2)
        some = target.clone()
        some[:, :, 24:] = 255
        left = self.value(student[..., :3], teacher[..., :3], target[..., :24])
        torch.testing.assert_close(self.value(student, teacher, some), left / 2)

    def test_without_a_label_it_is_exactly_zero_with_a_gradient(self) -> None:
        student = torch.zeros(2, 4, 3, 3, requires_grad=True)
        value = self.value(student, torch.randn(2, 7, 3, 3), torch.full((2, 24, 24), 255))
        assert value.item() == 0.0
        value.backward()
        assert student.grad is not None
        assert not student.grad.any()

    def test_an_image_of_the_same_variation_has_no_loss(self) -> None:
        student = torch.randn(2, 4, 3, 5)
        target = labels(2, size=(3, 5)).target
        assert self.value(student, student * 3, target).item() < 1e-12


class TestIFVDAtTheBackbone(MethodContract):
    name = "ifvd"
    params = {"tap": "backbone"}


@pytest.mark.parametrize("classes", [5, 150])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_both_agree_in_both_layouts(classes: int, layout: torch.memory_format) -> None:
    contract = TestIFVD()
    student, teacher = outputs(contract.student), outputs(contract.teacher, seed=1)
    values, gradients = [], []
    for implementation in ("reference", "tuned"):
        leaf = student["head"].detach().double().to(memory_format=layout).requires_grad_()
        method = contract.make(implementation=implementation, num_classes=classes)
        theirs = {"head": teacher["head"].detach().double().to(memory_format=layout)}
        value = method(as_output({"head": leaf}), as_output(theirs), labels(classes=classes))["ifvd"]
        (gradient,) = torch.autograd.grad(value, leaf)
        values.append(value)
        gradients.append(gradient)
    torch.testing.assert_close(values[0], values[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-14)
