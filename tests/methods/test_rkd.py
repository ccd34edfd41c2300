import pytest
import torch

from isoclock.methods import ChannelSpec, build_method
from isoclock.methods.testing import MethodContract, as_output, labels, outputs
from isoclock.runner.device import choose_device


class TestRKDOnAverages(MethodContract):
    name = "rkd"

    @pytest.mark.parametrize("images", [1, 2])
    def test_without_partners_there_is_no_relation(self, images: int) -> None:
        student = outputs(self.student, images=images)
        terms = self.make()(as_output(student), as_output(outputs(self.teacher, images=images, seed=1)), labels(images))
        torch.stack(list(terms.values())).sum().backward()
        assert terms["distance"].item() == pytest.approx(0, abs=1e-12)
        assert terms["angle"].item() == pytest.approx(0, abs=1e-12)
        assert student["head"].grad is not None
        assert student["head"].grad.abs().max() < 1e-6

    def test_scale_and_shift_of_the_embeddings_do_not_count(self) -> None:
        method = self.make(student=self.teacher)
        teacher = outputs(self.teacher, seed=1)
        student = {name: (3 * leaf + 2).detach() for name, leaf in teacher.items()}
        terms = method(as_output(student), as_output(teacher), labels())
        assert all(value.item() < 1e-9 for value in terms.values())


class TestRKDOnWholeMaps(MethodContract):
    name = "rkd"
    params = {"pool": "flatten", "tap": "backbone"}


@pytest.mark.parametrize("implementation", ["reference", "tuned"])
def test_a_value_by_hand(implementation: str) -> None:
    channels = ChannelSpec(backbone=2, head=2)
    method = build_method(
        "rkd", student=channels, teacher=channels, num_classes=2, dataset_size=3, implementation=implementation
    ).to(choose_device())
    # Right-angled triangles: the student's sides are 1, 1, sqrt 2, the teacher's 3, 4, 5.
    student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double()[:, :, None, None]
    teacher = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]).double()[:, :, None, None]
    terms = method(as_output({"head": student}), as_output({"head": teacher}), labels(size=(1, 1)))
    ours, theirs = torch.tensor([1, 1, 2**0.5], dtype=torch.float64), torch.tensor([3.0, 4.0, 5.0]).double()
    difference = ours / ours.mean() - theirs / theirs.mean()
    assert terms["distance"].item() == pytest.approx(2 * (difference**2 / 2).sum().item() / 9, rel=1e-12)
    difference = torch.tensor([0.5**0.5 - 3 / 5, 0.5**0.5 - 4 / 5], dtype=torch.float64)
    assert terms["angle"].item() == pytest.approx(2 * (difference**2 / 2).sum().item() / 27, rel=1e-12)


@pytest.mark.parametrize("implementation", ["reference", "tuned"])
def test_a_batch_of_copies_is_finite(implementation: str) -> None:
    channels = ChannelSpec(backbone=2, head=2)
    method = build_method(
        "rkd", student=channels, teacher=channels, num_classes=2, dataset_size=3, implementation=implementation
    ).to(choose_device())
    student = torch.ones(4, 2, 3, 3).requires_grad_()
    terms = method(as_output({"head": student}), as_output({"head": torch.ones(4, 2, 3, 3)}), labels(4, size=(3, 3)))
    torch.stack(list(terms.values())).sum().backward()
    assert all(value.item() == 0 for value in terms.values())
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_tuned_takes_blocks_of_a_large_map() -> None:
    channels = ChannelSpec(backbone=8, head=70)
    student = torch.randn(5, 70, 40, 40, generator=torch.Generator().manual_seed(0)).double()
    teacher = torch.randn(5, 70, 40, 40, generator=torch.Generator().manual_seed(1)).double()
    found = []
    for implementation in ("reference", "tuned"):
        method = build_method(
            "rkd",
            student=channels,
            teacher=channels,
            num_classes=2,
            dataset_size=5,
            implementation=implementation,
            pool="flatten",
        ).to(choose_device())
        leaf = student.clone().to(memory_format=torch.channels_last).requires_grad_()
        terms = method(as_output({"head": leaf}), as_output({"head": teacher}), labels(5, size=(1, 1)))
        (25 * terms["distance"] + 50 * terms["angle"]).backward()
        found.append((terms, leaf.grad))
    for term, value in found[0][0].items():
        torch.testing.assert_close(found[1][0][term], value, rtol=1e-10, atol=1e-15)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-8, atol=1e-16)
