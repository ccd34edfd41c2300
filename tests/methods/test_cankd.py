from typing import Any

import pytest
import torch

from isoclock.errors import ParamsError
from isoclock.methods import ChannelSpec, Method
from isoclock.methods.testing import MethodContract, as_output, labels, outputs


class Started(MethodContract):
    """With a batch norm that has left its start at 0, where the attention has no influence."""

    __test__ = False
    name = "cankd"
    size_unit = 2  # maps are pooled 2x2

    def make(self, seed: int = 0, **changes: Any) -> Method:
        method = super().make(seed, **changes)
        if method.active_terms:
            norm = method.get_submodule("W.1")
            with torch.no_grad():
                norm.weight.copy_(torch.linspace(0.5, 1.5, len(norm.weight)))
        return method


class TestCanKD(Started):
    __test__ = True

    def test_it_starts_as_the_distance_of_standardised_maps(self) -> None:
        method = MethodContract.make(self)
        student, teacher = self.student_outputs(), self.teacher_outputs()
        value = method(as_output(student), as_output(teacher), self.labels())["cankd"]
        maps = method.projector(student["backbone"]), teacher["backbone"]
        ours, theirs = (
            (one - one.mean((2, 3), keepdim=True)) / (one.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
            for one in maps
        )
        assert value.item() == pytest.approx((ours - theirs).square().mean().item() / 2, rel=1e-5)

    def test_at_the_start_only_the_projector_and_the_norm_learn(self) -> None:
        method = MethodContract.make(self)
        self.call(method)["cankd"].backward()
        learning = {name for name, parameter in method.named_parameters() if parameter.grad.abs().max() > 1e-6}
        assert learning == {"projector.weight", "W.1.weight"}

    def test_groups_have_their_own_statistics(self) -> None:
        two, all_of_them = (self.make(images_per_group=size) for size in (2, 0))
        kind = {"images": 4}
        student, teacher = outputs(self.student, **kind), outputs(self.teacher, seed=1, **kind)
        values = [
            method(as_output(student), as_output(teacher), labels(4))["cankd"].item() for method in (two, all_of_them)
        ]
        assert values[0] != pytest.approx(values[1], rel=1e-4)

    def test_a_map_that_cannot_be_pooled_is_refused(self) -> None:
        flat = [outputs(spec, size=(1, 8)) for spec in (self.student, self.teacher)]
        with pytest.raises(ParamsError, match="a map of 1x8 is too small"):
            self.make()(*map(as_output, flat), labels(size=(1, 8)))


class TestCanKDAtAHeadOfOddChannels(Started):
    __test__ = True
    teacher = ChannelSpec(backbone=20, head=9)
    params = {"tap": "head", "images_per_group": 0}


def test_odd_sides_lose_their_last_row_and_column() -> None:
    found = []
    for implementation in ("reference", "tuned"):
        contract = TestCanKD()
        contract.implementation = implementation
        student, teacher = (outputs(spec, size=(5, 7)) for spec in (contract.student, contract.teacher))
        method = contract.make().double()
        pair = ({name: leaf.detach().double() for name, leaf in one.items()} for one in (student, teacher))
        found.append(method(*map(as_output, pair), labels(size=(5, 7)))["cankd"].item())
    assert found[0] == pytest.approx(found[1], rel=1e-12)
