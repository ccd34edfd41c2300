import copy

import pytest
import torch

from isoclock.methods import Batch, Method
from isoclock.methods.maskd import _dice
from isoclock.methods.testing import CLASSES, MethodContract, as_output, labels, outputs


class TestMasKD(MethodContract):
    name = "maskd"

    def test_value_by_hand(self) -> None:
        # Tokens of zeros give masks of one half: each token's term is 1/4 N e^2 / (N / 2 + 1e-5).
        method = self.make(active_terms={"maskd"})
        set_tokens(method, torch.zeros(8, CLASSES))
        teacher = torch.randn(2, CLASSES, 3, 4)
        value = method(as_output({"logits": teacher + 3}), as_output({"logits": teacher}), labels(2, size=(3, 4)))
        torch.testing.assert_close(value["maskd"].item(), 0.5 * 0.25 * 12 * 9 / (6 + 1e-5), rtol=1e-5, atol=0)

    def test_an_error_counts_where_a_mask_is(self) -> None:
        method = self.make(active_terms={"maskd"}, tokens=1, num_classes=2)
        set_tokens(method, torch.tensor([[50.0, 0.0]]))
        teacher = torch.zeros(1, 2, 1, 2)
        teacher[0, 0, 0] = torch.tensor([1.0, -1.0])  # the mask is 1 at the first pixel, 0 at the second
        student = teacher.clone().requires_grad_()
        value = method(as_output({"logits": student + 1}), as_output({"logits": teacher}), labels(1, size=(1, 2)))
        torch.testing.assert_close(value["maskd"].item(), 0.5, rtol=1e-4, atol=0)
        value["maskd"].backward()
        assert student.grad is not None
        assert student.grad[..., 0].abs().min() > 0.1
        assert student.grad[..., 1].abs().max() < 1e-12

    def test_a_student_that_agrees_has_no_loss(self) -> None:
        same = outputs(self.teacher)
        values = self.make()(as_output(same), as_output(same), labels())
        assert all(value.item() == 0.0 for value in values.values())

    def test_the_optimiser_of_the_student_never_sees_the_tokens(self) -> None:
        assert self.make().adapters() == []

    def test_pre_training_tells_the_masks_apart_and_keeps_the_task(self) -> None:
        method = self.make()
        teacher = as_output(self.teacher_outputs(scale=10.0))
        losses = [method.pretrain_step(teacher, self.labels(), lr_factor=1 - step / 30) for step in range(30)]
        assert losses[-1]["mask_dice"] < 0.9 * losses[0]["mask_dice"]
        assert losses[-1]["mask_dice"] + losses[-1]["mask_task"] < losses[0]["mask_dice"] + losses[0]["mask_task"]
        assert losses[0].keys() == {"mask_task", "mask_dice"}

    def test_the_rate_falls_with_power_nine_tenths(self) -> None:
        method = self.make()
        method.pretrain_step(as_output(self.teacher_outputs()), self.labels(), lr_factor=0.5)
        assert method.optimisers["tokens"].param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**0.9)

    def test_pre_training_goes_on_after_a_resumption_as_it_would_have(self) -> None:
        first, second = self.make(seed=1), self.make(seed=2)
        teacher = as_output(self.teacher_outputs())
        first.pretrain_step(teacher, self.labels(), lr_factor=1.0)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        for method in (first, second):
            method.pretrain_step(teacher, self.labels(), lr_factor=0.5)
        assert torch.equal(tokens_of(first), tokens_of(second))

    def test_pre_training_without_a_label_is_finite(self) -> None:
        method = self.make()
        nothing = Batch(torch.full((3, 64, 128), 255), torch.arange(3), torch.zeros(3, dtype=torch.bool))
        losses = method.pretrain_step(as_output(self.teacher_outputs()), nothing, lr_factor=1.0)
        assert losses["mask_task"].item() == 0.0
        assert tokens_of(method).isfinite().all()

    def test_pre_training_asks_for_no_more_than_logits(self) -> None:
        assert self.make().pretrain_needs == {"logits"}
        assert self.make(active_terms={"maskd_aux"}).pretrain_needs == {"logits"}
        nothing = self.make(active_terms=set())
        assert nothing.pretrain_needs == frozenset()
        assert nothing.pretrain_iterations == 0


class TestMasKDAtTheHead(MethodContract):
    name = "maskd"
    params = {"tap": "head", "tokens": 3}

    def test_only_the_projector_is_an_adapter(self) -> None:
        method = self.make()
        assert [parameter.shape for parameter in method.adapters()] == [(16, 8, 1, 1)]
        assert method.pretrain_needs == {"head", "logits"}
        assert self.make(active_terms={"maskd"}).pretrain_needs == {"head"}


class TestMasKDAtTheBackboneWithOneToken(MethodContract):
    name = "maskd"
    params = {"tap": "backbone", "tokens": 1, "projector": "conv-bias"}


@pytest.mark.parametrize("params", [{}, {"tap": "head"}], ids=["logit", "head"])
def test_both_pre_train_alike(params: dict[str, str]) -> None:
    contract = TestMasKD()
    methods = [contract.make(implementation=each, **params).double() for each in ("reference", "tuned")]
    teacher = as_output({name: leaf.detach().double() for name, leaf in contract.teacher_outputs().items()})
    for step in range(3):
        first, second = (method.pretrain_step(teacher, contract.labels(), lr_factor=1 - step / 3) for method in methods)
        for name, value in first.items():
            torch.testing.assert_close(value, second[name], rtol=1e-11, atol=0)
    torch.testing.assert_close(tokens_of(methods[0]), tokens_of(methods[1]), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(5, 7), (96, 128)])
def test_both_agree_in_either_layout_and_many_blocks(layout: torch.memory_format, size: tuple[int, int]) -> None:
    contract = TestMasKDAtTheHead()
    found = []
    for implementation in ("reference", "tuned"):
        method = contract.make(implementation=implementation, active_terms={"maskd"}).double()
        student, teacher = (
            outputs(spec, seed=seed, size=size)["head"].detach().double().to(memory_format=layout)
            for seed, spec in enumerate((contract.student, contract.teacher))
        )
        student.requires_grad_()
        value = method(as_output({"head": student}), as_output({"head": teacher}), labels(size=size))["maskd"]
        found.append((value, *torch.autograd.grad(value, [student, *method.adapters()])))
    for reference, tuned in zip(*found, strict=True):
        torch.testing.assert_close(tuned, reference, rtol=1e-9, atol=1e-14)


def test_dice_is_one_for_equal_masks_and_zero_for_disjoint_ones() -> None:
    equal, disjoint = torch.ones(1, 3, 6), torch.eye(3)[None]
    assert _dice(equal).item() == pytest.approx(1.0)
    assert _dice(disjoint).item() == 0.0
    assert _dice(equal[:, :1]).item() == 0.0


def tokens_of(method: Method) -> torch.Tensor:
    assert method.pretrained is not None
    return method.pretrained.get_parameter("mask_tokens")


def set_tokens(method: Method, values: torch.Tensor) -> None:
    with torch.no_grad():
        tokens_of(method).copy_(values)
