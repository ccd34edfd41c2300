import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.methods.skd import pairwise
from isoclock.methods.skd.discriminator import Discriminator
from isoclock.methods.skd.pairwise import pair_term, pair_term_by_strips
from isoclock.methods.testing import CLASSES, MethodContract, as_output, labels
from isoclock.runner.device import choose_device


class TestSKDAsPublished(MethodContract):
    name = "skd"
    params = {"conv_dim": 8}
    exact_gradient = False  # none through the norm of the pair term

    def test_has_an_adversary(self) -> None:
        assert self.make().adversary is not None


class TestSKDAsInCIRKD(MethodContract):
    name = "skd"
    params = {
        "tap": "backbone",
        "nodes": "port",
        "adversary": "hinge",
        "optimiser": "adam",
        "lr_schedule": "constant",
        "weight_decay": 0.0,
        "conv_dim": 8,
    }

    def test_gives_the_same_discriminator_in_both_implementations(self) -> None:
        student = as_output({name: leaf.double() for name, leaf in self.student_outputs().items()})
        teacher = as_output({name: leaf.double() for name, leaf in self.teacher_outputs().items()})
        after = []
        for implementation in ("reference", "tuned"):
            method = self.make(implementation=implementation).double()
            for factor in (1.0, 0.5):
                method(student, teacher, self.labels())
                losses = method.adversary_step(student, teacher, self.labels(), lr_factor=factor)
            assert set(losses) == {"adversary"}
            assert method.adversary is not None
            after.append(method.adversary.state_dict())
        for name, value in after[0].items():
            torch.testing.assert_close(after[1][name], value, rtol=1e-6, atol=1e-9, msg=name)


def test_without_the_holistic_term_there_is_no_adversary() -> None:
    contract = TestSKDAsPublished()
    method = contract.make(active_terms={"pair"})
    assert method.adversary is None
    assert method.optimisers == {}
    assert method.teacher_needs == {"head"}
    student, teacher = as_output(contract.student_outputs()), as_output(contract.teacher_outputs())
    assert method.adversary_step(student, teacher, contract.labels(), lr_factor=1.0) == {}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("implementation", ["reference", "tuned"])
def test_two_uniform_distributions_cost_the_logarithm_of_their_classes_for_every_image(implementation: str) -> None:
    method = TestSKDAsPublished().make(implementation=implementation, active_terms={"pixel"})
    logits = as_output({"logits": torch.zeros(3, CLASSES, 4, 6)})
    assert method(logits, logits, labels(size=(4, 6)))["pixel"].item() == pytest.approx(3 * math.log(CLASSES))


@pytest.mark.parametrize("function", [pair_term, pair_term_by_strips])
def test_a_pair_by_hand(function: Any) -> None:
    """Two nodes at a right angle for the student, along each other for the teacher: S differs by 1 in two of four."""
    student = torch.tensor([[3.0, 0.0], [0.0, 5.0]]).t().reshape(1, 2, 1, 2).repeat_interleave(2, 2)
    student = student.repeat_interleave(2, 3)
    teacher = torch.ones(1, 3, 2, 4)
    for nodes in ("port", "official"):
        assert function(student, teacher, nodes).item() == pytest.approx(2 / 4), nodes


@pytest.mark.parametrize("nodes", ["port", "official"])
@pytest.mark.parametrize("function", [pair_term, pair_term_by_strips])
def test_equal_maps_cost_nothing(function: Any, nodes: str) -> None:
    feature = random(2, 6, 8, 12)
    assert function(feature, feature.clone(), nodes).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(32, 48), (32, 64), (31, 17)])
@pytest.mark.parametrize("nodes", ["port", "official"])
def test_of_equal_maxima_the_first_one_learns(nodes: str, size: tuple[int, int], layout: torch.memory_format) -> None:
    student, teacher = random(2, 5, *size).round().relu(), random(2, 7, *size, seed=1).relu()
    found = []
    for function in (pair_term, pair_term_by_strips):
        leaf = student.double().to(memory_format=layout).requires_grad_()
        function(leaf, teacher.double().to(memory_format=layout), nodes).backward()
        found.append(leaf.grad)
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("distance", [1.0, 0.01])
def test_strips_of_a_large_map_keep_their_digits(distance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, with strips smaller than the map; the second distance is that of a near-converged student."""
    monkeypatch.setitem(pairwise.STRIP, "cpu", 1 << 16)
    teacher = random(2, 24, 32, 64).relu()
    student = (teacher + distance * random(2, 24, 32, 64, seed=1)).detach()
    found = []
    for function, dtype in ((pair_term, torch.float64), (pair_term_by_strips, torch.float32)):
        leaf = student.to(dtype).requires_grad_()
        value = function(leaf, teacher.to(dtype), "port")
        value.backward()
        assert leaf.grad is not None
        found.append((value.detach().double(), leaf.grad.double()))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-5, atol=0)
    assert (found[1][1] - found[0][1]).norm() <= 1e-4 * found[0][1].norm()


def test_the_discriminator_has_the_published_size() -> None:
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in Discriminator(19).parameters())
    assert 3.19e6 < parameters < 3.21e6


@pytest.mark.parametrize(
    ("size", "scores"), [((64, 64), (1, 1)), ((64, 128), (1, 5)), ((8, 16), (1, 1)), ((1, 1), (1, 1))]
)
def test_the_discriminator_takes_maps_of_any_size(size: tuple[int, int], scores: tuple[int, int]) -> None:
    adversary = Discriminator(CLASSES, conv_dim=8).to(choose_device())
    assert adversary(random(1, CLASSES, *size)).shape == (1, 1, *scores)


def test_a_large_map_is_not_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Tensor:
        raise AssertionError("filled up")

    monkeypatch.setattr(F, "pad", refuse)
    Discriminator(CLASSES, conv_dim=8).to(choose_device())(random(2, CLASSES, 64, 80))


def test_spectral_norm_tends_to_one() -> None:
    layer = Discriminator(CLASSES, conv_dim=8).l2[0]
    for _ in range(100):
        weight = layer._normalised()
    assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, rel=1e-3)


def test_evaluation_leaves_the_discriminators_state_alone() -> None:
    adversary = Discriminator(CLASSES, conv_dim=8).to(choose_device()).eval()
    before = copy.deepcopy(adversary.state_dict())
    adversary(random(2, CLASSES, 16, 16))
    assert all(torch.equal(value, before[name]) for name, value in adversary.state_dict().items())


@pytest.mark.parametrize(("schedule", "moved"), [("student", 0.25), ("constant", 1.0)])
def test_the_discriminators_rate_follows_the_student_or_not(schedule: str, moved: float) -> None:
    contract = TestSKDAsPublished()
    method = contract.make(lr_schedule=schedule, implementation="tuned", lr=0.1)
    student, teacher = as_output(contract.student_outputs()), as_output(contract.teacher_outputs())
    method.adversary_step(student, teacher, contract.labels(), lr_factor=0.25)
    assert method.optimisers["adversary"].param_groups[0]["lr"] == pytest.approx(0.1 * moved)
