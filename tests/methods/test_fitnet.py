import pytest
from method_contract import MethodContract, as_output, labels, outputs

from isoclock.errors import ParamsError


class TestFitNet(MethodContract):
    name = "fitnet"


class TestFitNetAtTheBackbone(MethodContract):
    name = "fitnet"
    params = {"tap": "backbone", "projector": "conv-bn"}

    def test_needs_neither_head_nor_logits(self) -> None:
        assert self.make().teacher_needs == {"backbone"}


def test_maps_of_different_size_are_refused_with_both_sizes() -> None:
    contract = TestFitNet()
    teacher = outputs(contract.teacher)
    teacher["head"] = teacher["head"][..., ::2, ::2]
    with pytest.raises(ParamsError, match=r"\(8, 16\) in the student, \(4, 8\) in the teacher"):
        contract.make()(as_output(outputs(contract.student)), as_output(teacher), labels())
