from pathlib import Path

import numpy as np
import pytest
import torch

from isoclock.kernels.edges import edge_masks, fast_edge_masks
from isoclock.methods import Batch
from isoclock.methods.testing import CLASSES, MethodContract, as_output, labels, outputs

GOLDENS = Path(__file__).parents[1] / "fidelity" / "goldens"


class TestBPKD(MethodContract):
    name = "bpkd"

    def test_an_image_of_one_class_is_all_body(self) -> None:
        terms = self.make()(
            as_output(outputs(self.student)),
            as_output(outputs(self.teacher, seed=1)),
            Batch(torch.full((3, 64, 128), 2), torch.arange(3), torch.ones(3, dtype=torch.bool)),
        )
        assert terms["edge"].item() == 0.0
        assert terms["body"].item() > 0.0

    def test_without_a_label_both_terms_are_exactly_zero(self) -> None:
        student = outputs(self.student)
        nothing = Batch(torch.full((3, 64, 128), 255), torch.arange(3), torch.zeros(3, dtype=torch.bool))
        terms = self.make()(as_output(student), as_output(outputs(self.teacher, seed=1)), nothing)
        assert {name: value.item() for name, value in terms.items()} == {"edge": 0.0, "body": 0.0}
        torch.stack(list(terms.values())).sum().backward()
        assert student["logits"].grad is not None
        assert not student["logits"].grad.any()

    def test_one_edge_cell_by_hand(self) -> None:
        # One cell, left half class 0, right half class 1, window 3: the two columns at the boundary are on both edges.
        target = torch.cat([torch.zeros(1, 8, 4), torch.ones(1, 8, 4)], 2).long()
        student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[8.0, 0.0]])
        method = self.make(num_classes=2, temperature=1.0, alpha=1.0, edge_radius=1)
        found = method(
            as_output({"logits": student.view(1, 2, 1, 1)}),
            as_output({"logits": teacher.view(1, 2, 1, 1)}),
            Batch(target, torch.arange(1), torch.ones(1, dtype=torch.bool)),
        )["edge"]
        kl = torch.nn.functional.kl_div((student / 4).log_softmax(1), (teacher / 4).softmax(1), reduction="sum")
        torch.testing.assert_close(found, 2 * kl / 4)

    def test_second_backward_gives_the_same(self) -> None:
        student = outputs(self.student)
        terms = self.make()(as_output(student), as_output(outputs(self.teacher, seed=1)), labels())
        for value in terms.values():
            first, second = (torch.autograd.grad(value, student["logits"], retain_graph=True)[0] for _ in range(2))
            assert torch.equal(first, second)


class TestBPKDByMass(MethodContract):
    name = "bpkd"
    params = {"edge_size": "mass", "edge_radius": 1, "temperature": 1.5}


@pytest.mark.parametrize("classes", [CLASSES, 32, 150])
def test_both_agree_on_channels_last_logits(classes: int) -> None:
    contract = TestBPKD()
    kind = {"classes": classes, "size": (3, 5)}
    found = []
    for implementation in ("reference", "tuned"):
        logits = outputs(contract.student, **kind)["logits"].detach().double()
        leaf = logits.to(memory_format=torch.channels_last).requires_grad_()
        teacher = outputs(contract.teacher, seed=1, **kind)["logits"].detach().double()
        method = contract.make(implementation=implementation, num_classes=classes)
        terms = method(
            as_output({"logits": leaf}),
            as_output({"logits": teacher.to(memory_format=torch.channels_last)}),
            labels(**kind),
        )
        found.append([*terms.values(), *torch.autograd.grad(sum(terms.values()), leaf)])
    for reference, tuned in zip(*found, strict=True):
        torch.testing.assert_close(tuned, reference, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("masks_of", [edge_masks, fast_edge_masks])
def test_masks_are_those_of_the_golden(masks_of: type(edge_masks)) -> None:
    with np.load(GOLDENS / "bpkd__small.npz") as golden:
        target, expected = torch.as_tensor(golden["in.target"]), golden["aux.edge_mask"]
        for given in (target, target.to(torch.uint8)):
            found, labelled = masks_of(given, expected.shape[1], expected.shape[2:], 3, torch.float64)
            assert np.array_equal(found.numpy(), expected)
            assert np.array_equal(labelled.numpy(), golden["aux.valid_mask"])


@pytest.mark.parametrize("classes", [2, 31, 32, 33, 150, 255])
def test_bits_and_maps_give_equal_masks(classes: int) -> None:
    for size, ratio, radius in (
        ((1, 1), 8, 3),
        ((3, 5), 8, 3),
        ((3, 2), 8, 0),
        ((2, 3), 8, 6),
        ((7, 2), 4, 1),
        ((3, 5), 1, 2),
    ):
        target = made_up_target(classes, (ratio * size[0], ratio * size[1]))
        expected = edge_masks(target, classes, size, radius, torch.float32)
        found = fast_edge_masks(target, classes, size, radius, torch.float32)
        assert torch.equal(found[0], expected[0]), (size, ratio, radius)
        assert torch.equal(found[1], expected[1]), (size, ratio, radius)


@pytest.mark.parametrize("shape", [(13, 21), (10, 15), (32, 48), (6, 7)])
def test_masks_agree_for_other_ratios_and_overlapping_cells(shape: tuple[int, int]) -> None:
    target = made_up_target(4, shape)
    for ours, theirs in zip(
        fast_edge_masks(target, 4, (2, 3), 1, torch.float32),
        edge_masks(target, 4, (2, 3), 1, torch.float32),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def made_up_target(classes: int, shape: tuple[int, int]) -> torch.Tensor:
    """Patches of three pixels, a strip without labels."""
    small = torch.randint(
        0, classes, (2, -(-shape[0] // 3), -(-shape[1] // 3)), generator=torch.Generator().manual_seed(1)
    )
    target = small.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, : shape[0], : shape[1]].clone()
    target[1, : shape[0] // 3] = 255
    return target.to(torch.uint8)
